"""The command `cancel`, and the CPUs of a cancelled start run."""

import pytest

from cpu.errors import PreconditionError
from cpu.keys import Keys
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends


@pytest.mark.parametrize("cpu", [0, 2])
def test_each_cpu_of_a_cancelled_start_run_stops_at_its_next_cycle_without_a_verdict(
    start_run: StartRunClient, cpu: int
) -> None:
    start_run.store_text(ENDLESS)
    start_run.load(cpu)
    start_run.cancel()
    stopped = start_run.execute(cpu, 1)
    assert (stopped["status"], stopped["cycle"], stopped["acc"]) == ("stopped", 0, "0")
    assert "verdict" not in stopped
    assert start_run.execute(cpu, 1) == stopped


def test_repeating_an_exec_after_a_cancel_returns_its_result(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    start_run.load(0)
    before = start_run.execute(0, 1)
    start_run.cancel()
    assert start_run.execute(0, 1) == before


def test_the_last_candidate_of_a_cancelled_start_run_gives_no_verdict(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    start_run.run(2)
    start_run.load(3)
    start_run.cancel()
    assert "verdict" not in start_run.execute(3, 1)


def test_a_survey_of_a_cancelled_start_run_says_that_it_is_over(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    start_run.cancel()
    assert start_run.survey() == {
        "status": "over",
        "start": start_run.start,
        "due": [],
        "answers": [],
        "more": None,
    }


def test_cancelling_twice_gives_the_same_result(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    assert start_run.cancel() == start_run.cancel() == {"status": "cancelled", "start": start_run.start}


def test_cancelling_an_unknown_start_run_fails_and_creates_nothing(start_run: StartRunClient) -> None:
    with pytest.raises(PreconditionError, match="is not stored, or has expired"):
        start_run.cancel()
    assert not start_run.client.exists(Keys(start_run.start).facts)

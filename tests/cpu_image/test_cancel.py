"""A start run that is cancelled."""

import pytest

from cpu.errors import PreconditionError
from cpu.keys import Keys
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends


@pytest.mark.parametrize("cpu", [0, 2])
def test_every_cpu_stops_at_its_next_cycle_and_tells_nothing(start_run: StartRunClient, cpu: int) -> None:
    start_run.store(ENDLESS)
    start_run.load(cpu)
    start_run.cancel()
    stopped = start_run.execute(cpu, 1)
    assert (stopped["status"], stopped["cycle"], stopped["acc"]) == ("stopped", 0, "0")
    assert "verdict" not in stopped
    assert start_run.execute(cpu, 1) == stopped


def test_a_cycle_that_was_done_before_is_told_as_it_was(start_run: StartRunClient) -> None:
    start_run.store(ENDLESS)
    start_run.load(0)
    before = start_run.execute(0, 1)
    start_run.cancel()
    assert start_run.execute(0, 1) == before


def test_the_last_to_stop_does_not_tell_that_no_swap_helps(start_run: StartRunClient) -> None:
    start_run.store(ENDLESS)
    start_run.run(2)
    start_run.load(3)
    start_run.cancel()
    assert "verdict" not in start_run.execute(3, 1)


def test_it_is_over_for_whoever_surveys_it(start_run: StartRunClient) -> None:
    start_run.store(ENDLESS)
    start_run.cancel()
    assert start_run.survey() == {
        "status": "over",
        "start": start_run.start,
        "due": [],
        "answers": [],
        "more": None,
    }


def test_to_cancel_twice_is_the_same(start_run: StartRunClient) -> None:
    start_run.store(ENDLESS)
    assert start_run.cancel() == start_run.cancel() == {"status": "cancelled", "start": start_run.start}


def test_what_is_not_stored_can_t_be_cancelled_and_is_not_made_by_it(start_run: StartRunClient) -> None:
    with pytest.raises(PreconditionError, match="is not stored, or has expired"):
        start_run.cancel()
    assert not start_run.client.exists(Keys(start_run.start).facts)

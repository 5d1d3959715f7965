"""A start run that is cancelled."""

import pytest

from cpu.errors import PreconditionError
from cpu.keys import Keys
from tests.support.trial import Trial

ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends


@pytest.mark.parametrize("cpu", [0, 2])
def test_every_cpu_stops_at_its_next_cycle_and_tells_nothing(trial: Trial, cpu: int) -> None:
    trial.store(ENDLESS)
    trial.load(cpu)
    trial.cancel()
    stopped = trial.execute(cpu, 1)
    assert (stopped["status"], stopped["cycle"], stopped["acc"]) == ("stopped", 0, "0")
    assert "verdict" not in stopped
    assert trial.execute(cpu, 1) == stopped


def test_a_cycle_that_was_done_before_is_told_as_it_was(trial: Trial) -> None:
    trial.store(ENDLESS)
    trial.load(0)
    before = trial.execute(0, 1)
    trial.cancel()
    assert trial.execute(0, 1) == before


def test_the_last_to_stop_does_not_tell_that_no_swap_helps(trial: Trial) -> None:
    trial.store(ENDLESS)
    trial.run(2)
    trial.load(3)
    trial.cancel()
    assert "verdict" not in trial.execute(3, 1)


def test_it_is_over_for_whoever_surveys_it(trial: Trial) -> None:
    trial.store(ENDLESS)
    trial.cancel()
    assert trial.survey() == {"status": "over", "start": trial.start, "due": [], "answers": [], "more": None}


def test_to_cancel_twice_is_the_same(trial: Trial) -> None:
    trial.store(ENDLESS)
    assert trial.cancel() == trial.cancel() == {"status": "cancelled", "start": trial.start}


def test_what_is_not_stored_can_t_be_cancelled_and_is_not_made_by_it(trial: Trial) -> None:
    with pytest.raises(PreconditionError, match="is not stored, or has expired"):
        trial.cancel()
    assert not trial.client.exists(Keys(trial.start).facts)

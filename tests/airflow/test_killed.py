"""A killed scheduler or worker is restarted, and no process of before is left."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from scripts.local import processes, supervisor
from scripts.waiting import wait_until
from tests.support.stack import PATIENCE_SECONDS, Stack


def scheduler(stack: Stack) -> psutil.Process:
    return psutil.Process(supervisor.states(stack.settings)["scheduler"].pid)


def first_worker(stack: Stack) -> psutil.Process:
    return scheduler(stack).children()[0]


@pytest.mark.parametrize("victim", [scheduler, first_worker])
def test_the_scheduler_and_all_its_workers_are_restarted_when_one_of_them_is_killed(
    stack: Stack, victim: Callable[[Stack], psutil.Process]
) -> None:
    stack.finish(stack.start(parts="part 1"))  # starts workers
    before = scheduler(stack)
    all_before = [before, *before.children(recursive=True)]
    victim(stack).send_signal(signal.SIGKILL)

    assert wait_until(lambda: not any(map(processes.is_alive, all_before)), PATIENCE_SECONDS)
    state, start = stack.finish(stack.start(parts="part 1"))
    assert state == "success"
    assert stack.answers(start) == ["Part 1: 5"]

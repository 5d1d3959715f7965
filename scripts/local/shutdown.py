"""The shutdown of a stack: supervisord stops the components in order, then every process left is ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psutil

from scripts.local import processes, supervisor
from scripts.local.errors import StackError
from scripts.local.stack import Stack
from scripts.waiting import wait_until


def shut_down(stack: Stack, on_progress: Callable[[str], None]) -> None:
    """End every process of the stack, in order; raise StackError if any is left."""
    with suppress(*supervisor.UNREACHABLE), supervisor.Supervisor(stack.settings) as supervised:
        _stop_in_order(supervised, stack, on_progress)
    if left := processes.end_all(stack.settings, stack.stopping_stages):
        pids = ", ".join(str(process.pid) for process in left)
        raise StackError(f"these processes of the stack can't be ended: {pids}")


def _stop_in_order(
    supervised: supervisor.Supervisor, stack: Stack, on_progress: Callable[[str], None]
) -> None:
    """Have supervisord stop every component, stage by stage, and then itself."""
    supervisord = psutil.Process(supervised.pid())
    for stage in stack.stopping_stages:
        names = [component.name for component in stage]
        on_progress(f"stopping {', '.join(names)}")
        for name in names:
            supervised.stop(name)
        seconds = max(component.stop_seconds for component in stage) + 15
        wait_until(partial(supervised.are_stopped, names), seconds)
    supervised.shutdown()
    processes.wait_gone([supervisord], 10)

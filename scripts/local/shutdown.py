"""The way down: stop in order, then end whatever is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psutil

from scripts.local import processes, supervisor
from scripts.local.components import stopping_stages
from scripts.local.errors import StackError
from scripts.local.services.component import Component
from scripts.local.settings import Settings
from scripts.waiting import wait_until


def take_down(settings: Settings, say: Callable[[str], None]) -> None:
    """End every process of the stack, in order; raise StackError if any is left."""
    stages = stopping_stages(settings)
    with suppress(*supervisor.AWAY), supervisor.Supervisor(settings) as supervised:
        stop_in_order(supervised, stages, say)
    left = processes.end(settings, stages)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise StackError(f"these processes of the stack can't be ended: {pids}")


def stop_in_order(
    supervised: supervisor.Supervisor, stages: list[list[Component]], say: Callable[[str], None]
) -> None:
    """Have supervisord stop everything, and then itself."""
    leaving = psutil.Process(supervised.pid())
    for stage in stages:
        say(f"stopping {', '.join(component.name for component in stage)}")
        for component in stage:
            supervised.stop(component.name)
        patience = max(component.stop_seconds for component in stage) + 15
        while_running = [component.name for component in stage]
        wait_until(lambda names=while_running: not supervised.any_alive(names), patience)  # type: ignore[misc]
    supervised.shutdown()
    processes.wait_gone([leaving], 10)

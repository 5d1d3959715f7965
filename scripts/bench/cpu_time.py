"""The CPU seconds that each component of a stack uses, measured without the rights of root.

When a parent waits for a child that has ended, the kernel adds the child's CPU time to the parent's times of
its children. So the own and the children's times of all processes of a tree, added up, grow by what the tree
uses, however short its processes live. A component's tree begins with the process that supervisord has
started; what supervisord itself uses is counted as ``supervisord``.

What a process uses after its parent has ended is missing, as init becomes its parent. No component leaves
such processes behind. On macOS, all that ended processes have used is missing: it has no children's times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

import psutil

from scripts.local.settings import Settings
from scripts.local.supervisor import Supervisor

PARTS = {"scheduler": ("scheduler", "worker"), "kubernetes": ("kubernetes", "kubernetes", "pods")}
"""The components whose processes are told apart by their depth in the tree.

The scheduler's children are LocalExecutor's workers. The children of the local Kubernetes endpoint are its
launchers, and theirs are the pods' processes.
"""
HALF_TICK = 0.5 / os.sysconf("SC_CLK_TCK")
"""The kernel rounds each time down to a tick: on average, half a tick more has passed.

Without it, every worker that takes its first task during a measurement would count too little.
"""
MAX_READS = 10


class Times(NamedTuple):
    """The CPU seconds of a process."""

    parent: int
    own: float
    children: float
    """Of the children that it has waited for, and of theirs."""


class CpuMeter:
    """Measures the CPU seconds of a stack's components from its creation on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roots = roots(settings)
        self._before = by_component(all_times(), self._roots)

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds that each component has used so far.

        Exits the program if a component has been restarted: what its new process has used does not compare.
        """
        if changed := set(roots(self._settings).items()) ^ set(self._roots.items()):
            names = ", ".join(sorted({name for _, name in changed}))
            sys.exit(f"restarted during the measurement: {names}; `logs` of the stack may say why")
        return {
            name: used - self._before[name] for name, used in by_component(all_times(), self._roots).items()
        }


def roots(settings: Settings) -> dict[int, str]:
    """Return the components' names by the ids of their first processes, and supervisord's."""
    with Supervisor(settings) as supervisor:
        states = supervisor.states()
        return {supervisor.pid(): "supervisord"} | {state.pid: name for name, state in states.items()}


def all_times() -> dict[int, Times]:
    """Return the times of every process of this machine, zombies included.

    Reads them again if a process has started or ended meanwhile: its time might be missing.
    """
    times = _read_times()
    for _ in range(MAX_READS):
        before, times = times, _read_times()
        if times.keys() == before.keys():
            break
    return times


def _read_times() -> dict[int, Times]:
    return {
        process.pid: Times(
            process.info["ppid"],
            _unrounded(cpu.user, cpu.system),
            _unrounded(cpu.children_user, cpu.children_system),
        )
        for process in psutil.process_iter(["ppid", "cpu_times"])
        if process.pid and (cpu := process.info["cpu_times"])
    }


def _unrounded(*seconds: float) -> float:
    return sum(value + HALF_TICK for value in seconds if value)


def by_component(processes: Mapping[int, Times], roots: Mapping[int, str]) -> dict[str, float]:
    """Return the CPU seconds of each component; ``roots`` are the names of their first processes."""
    used = {part: 0.0 for name in roots.values() for part in PARTS.get(name, (name,))}
    for pid, times in processes.items():
        root, depth = _root(pid, processes, roots)
        if root:
            used[_part(root, depth)] += times.own
            used[_part(root, depth + 1)] += times.children
    return used


def _root(pid: int, processes: Mapping[int, Times], roots: Mapping[int, str]) -> tuple[str, int]:
    """Return the component a process belongs to, and its depth below the first one; "" if to none."""
    depth = 0
    while pid in processes:
        if pid in roots:
            return roots[pid], depth
        pid, depth = processes[pid].parent, depth + 1
    return "", 0


def _part(component: str, depth: int) -> str:
    parts = PARTS.get(component, (component,))
    return parts[min(depth, len(parts) - 1)]

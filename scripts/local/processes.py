"""Find and end exactly the processes of one stack, even if their parents are gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.local.services.component import COMPONENT_MARK, STACK_MARK, Component
from scripts.local.settings import Settings, write_private
from scripts.waiting import wait_until


class Session(NamedTuple):
    """supervisord's process session, which outlives it."""

    number: int
    since: float  # seconds since 1970
    groups: dict[int, str]
    """The component of each process group."""


def members(settings: Settings) -> dict[psutil.Process, str]:
    """Return every living process of this stack, with its component's name ("" if unknown).

    A process belongs to the stack if it is in supervisord's session, if it carries the stack's mark in its
    environment, or if it descends from such a process. Neither session nor mark is enough: one-shots and
    PostgreSQL's backends are not in the session; Redis and Airflow's API server overwrite their environment,
    and Airflow's workers hide theirs. Both fail if root may not inspect other users' processes, as in a
    container, and for pods, whose environment is clean. So PostgreSQL is also recognised by its data folder,
    and pods by their working folder.
    """
    session = _supervised_session(settings)
    found = {
        process: name
        for process in psutil.process_iter()
        if (name := _component_of(process, settings, session)) is not None
    }
    for process, name in list(found.items()):
        for child in _descendants(process):
            found.setdefault(child, name)
    own = {psutil.Process(), *psutil.Process().parents()}
    return {process: name for process, name in found.items() if process not in own and is_alive(process)}


def _component_of(process: psutil.Process, settings: Settings, session: Session | None) -> str | None:
    """Return the component that a process belongs to ("" if unknown), or None if it is not of this stack."""
    try:
        if session and _is_in_session(process, session):
            return session.groups.get(os.getpgid(process.pid), "")
        with suppress(psutil.AccessDenied):
            variables = process.environ()
            if variables.get(STACK_MARK) == str(settings.state):
                return variables.get(COMPONENT_MARK, "")
        if str(settings.postgres / "data") in process.cmdline():
            return "postgres"
        return "kubernetes" if _works_below(process, str(settings.kube)) else None
    except (psutil.Error, OSError):
        return None  # it has ended meanwhile, or it is another user's


def end_leftovers(settings: Settings, name: str) -> None:
    """Kill what a component that was killed has left of its process group, before it starts again.

    Airflow's scheduler leaves its workers, which would wait for tasks forever.
    """
    if session := _supervised_session(settings):
        groups = {pid for pid, component in session.groups.items() if component == name}
        kill([process for process in psutil.process_iter() if _is_leftover(process, session, groups)])


def _is_leftover(process: psutil.Process, session: Session, groups: set[int]) -> bool:
    """Return whether a process is in one of these groups of that session, and is not this process."""
    try:
        is_other = process.pid != os.getpid() and os.getpgid(process.pid) in groups
        return is_other and _is_in_session(process, session)
    except (psutil.Error, OSError):
        return False


def record_group(settings: Settings, name: str) -> None:
    """Record that this process, which is about to become a component, leads the component's process group."""
    write_private(settings.pids / name, str(os.getpid()))


def record_session(settings: Settings, supervisord: int) -> None:
    """Record the session of a supervisord that has just started."""
    record = {"number": supervisord, "since": psutil.Process(supervisord).create_time()}
    write_private(_session_file(settings), json.dumps(record) + "\n")


def _session_file(settings: Settings) -> Path:
    return settings.state / "session.json"


def _supervised_session(settings: Settings) -> Session | None:
    """Return the recorded session, or None if its number belongs to another session by now."""
    try:
        record = json.loads(_session_file(settings).read_text())
        number, since = int(record["number"]), float(record["since"])
        groups = {int(path.read_text()): path.name for path in settings.pids.glob("[!.]*")}
    except (FileNotFoundError, KeyError, ValueError):
        return None
    if since < psutil.boot_time():
        return None
    with suppress(
        psutil.NoSuchProcess
    ):  # the number stays the session's as long as one of its processes lives
        if abs(psutil.Process(number).create_time() - since) > 1:
            return None
    return Session(number, since, groups)


def _is_in_session(process: psutil.Process, session: Session) -> bool:
    return os.getsid(process.pid) == session.number and process.create_time() >= session.since - 1


def _works_below(process: psutil.Process, folder: str) -> bool:
    """Return whether a process works below a folder and has no terminal, so is no user's shell."""
    return process.terminal() is None and f"{process.cwd()}/".startswith(f"{folder}/")


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def end_all(settings: Settings, stages: Iterable[Sequence[Component]]) -> list[psutil.Process]:
    """End every process of the stack without supervisord's help; return those that are still alive.

    supervisord is killed first, so that it restarts nothing. Then, stage by stage, each component gets its
    stop signal and the time it needs to stop. What is left then is killed.
    """
    kill([process for process, name in members(settings).items() if name == "supervisord"])
    for stage in stages:
        signalled = [process for component in stage for process in _signal_component(settings, component)]
        wait_gone(signalled, max(component.stop_seconds for component in stage))
    for _ in range(5):  # a process may have forked while the members were listed
        left = list(members(settings))
        if not left:
            _session_file(settings).unlink(missing_ok=True)
            return []
        kill(left)
    return list(members(settings))


def _signal_component(settings: Settings, component: Component) -> list[psutil.Process]:
    """Send a component's processes its stop signal; return them."""
    processes = [process for process, name in members(settings).items() if name == component.name]
    if not component.signal_whole_group:
        processes = [process for process in processes if not set(process.parents()) & set(processes)]
    _send(processes, signal.Signals[f"SIG{component.stop_signal}"])
    return processes


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill processes and wait until they are gone."""
    _send(processes, signal.SIGKILL)
    wait_gone(processes, 5)


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Wait until all of the processes have ended; return whether they have."""
    return wait_until(lambda: not any(is_alive(process) for process in processes), seconds)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie, which its parent has not reaped, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

"""Finding and ending exactly the processes of one stack, whatever became of their parents."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

from scripts.local.services.component import COMPONENT_MARK, STACK_MARK, Component
from scripts.local.settings import Settings, write_private
from scripts.waiting import wait_until


class Session(NamedTuple):
    """supervisord's session of processes, which outlives it."""

    number: int
    since: float  # seconds since 1970
    groups: dict[int, str]  # the components' process groups


def members(settings: Settings) -> dict[psutil.Process, str]:
    """Every living process of this stack, with its component's name ("" when unknown).

    A process is the stack's when it is in supervisord's session or carries the stack's mark in its
    environment. Neither is enough: errands and PostgreSQL's backends are not in the session; Redis and
    Airflow's API server write over their environment, and Airflow's workers hide theirs. Nor are both, where
    root may not look at other users' processes, as in a container, or for pods, whose environment is clean:
    PostgreSQL is known by its data folder then, and pods by theirs. What descends from a member is one.
    """
    session = supervised_session(settings)
    found = {
        process: name
        for process in psutil.process_iter()
        if (name := component_of(process, settings, session)) is not None
    }
    for process, name in list(found.items()):
        for child in children(process):
            found.setdefault(child, name)
    own = {psutil.Process(), *psutil.Process().parents()}
    return {process: name for process, name in found.items() if process not in own and is_alive(process)}


def component_of(process: psutil.Process, settings: Settings, session: Session | None) -> str | None:
    """The component this process belongs to ("" when unknown), None when it is not of this stack."""
    try:
        if session and is_in_session(process, session):
            return session.groups.get(os.getpgid(process.pid), "")
        with suppress(psutil.AccessDenied):
            surroundings = process.environ()
            if surroundings.get(STACK_MARK) == str(settings.state):
                return surroundings.get(COMPONENT_MARK, "")
        if str(settings.postgres / "data") in process.cmdline():
            return "postgres"
        return "kubernetes" if works_below(process, str(settings.kube)) else None
    except (psutil.Error, OSError):
        return None  # gone meanwhile, or none of our business


def end_group(settings: Settings, name: str) -> None:
    """End what a component that was killed has left of its process group, before it starts again.

    Airflow's scheduler leaves its workers, which would wait for tasks for ever.
    """
    if session := supervised_session(settings):
        own = {pid for pid, component in session.groups.items() if component == name}
        kill([process for process in psutil.process_iter() if is_left(process, session, own)])


def is_left(process: psutil.Process, session: Session, groups: set[int]) -> bool:
    """Whether the process is in one of these groups of that session, and is not this one."""
    try:
        is_other = process.pid != os.getpid() and os.getpgid(process.pid) in groups
        return is_other and is_in_session(process, session)
    except (psutil.Error, OSError):
        return False


def note_group(settings: Settings, name: str) -> None:
    """Note that this process, a component about to be, leads that component's process group."""
    write_private(settings.pids / name, str(os.getpid()))


def note_session(settings: Settings, supervisord: int) -> None:
    """Note the session of a supervisord that has just started."""
    note = {"number": supervisord, "since": psutil.Process(supervisord).create_time()}
    write_private(settings.state / "session.json", json.dumps(note) + "\n")


def supervised_session(settings: Settings) -> Session | None:
    """The session noted, unless its number is somebody else's by now."""
    try:
        note = json.loads((settings.state / "session.json").read_text())
        number, since = int(note["number"]), float(note["since"])
        groups = {int(path.read_text()): path.name for path in settings.pids.glob("[!.]*")}
    except (FileNotFoundError, KeyError, ValueError):
        return None
    if since < psutil.boot_time():
        return None
    with suppress(psutil.NoSuchProcess):  # the number stays the session's while one process of it lives
        if abs(psutil.Process(number).create_time() - since) > 1:
            return None
    return Session(number, since, groups)


def is_in_session(process: psutil.Process, session: Session) -> bool:
    """Whether the process belongs to that session."""
    return os.getsid(process.pid) == session.number and process.create_time() >= session.since - 1


def works_below(process: psutil.Process, folder: str) -> bool:
    """Whether a process without a terminal (so never somebody's shell) has its working folder in there."""
    return process.terminal() is None and f"{process.cwd()}/".startswith(f"{folder}/")


def children(process: psutil.Process) -> list[psutil.Process]:
    """All that descends from the process."""
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def end(settings: Settings, stages: Iterable[Sequence[Component]]) -> list[psutil.Process]:
    """End every process of the stack without supervisord's help; return those that are still there.

    supervisord goes first, at once, so that it restarts nothing; then stage by stage each component by its
    own signal, with the time it takes to stop; what is left then is killed.
    """
    kill([process for process, name in members(settings).items() if name == "supervisord"])
    for stage in stages:
        told = [process for component in stage for process in tell(settings, component)]
        wait_gone(told, max(component.stop_seconds for component in stage))
    for _ in range(5):  # a process may have been forking while it was looked for
        left = list(members(settings))
        if not left:
            (settings.state / "session.json").unlink(missing_ok=True)
            return []
        kill(left)
    return list(members(settings))


def tell(settings: Settings, component: Component) -> list[psutil.Process]:
    """Ask the component's processes to end; return them."""
    mine = [process for process, name in members(settings).items() if name == component.name]
    if not component.signal_whole_group:
        mine = [process for process in mine if not set(process.parents()) & set(mine)]
    send(mine, signal.Signals[f"SIG{component.stop_signal}"])
    return mine


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill and wait until they are gone."""
    send(processes, signal.SIGKILL)
    wait_gone(processes, 5)


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Wait until all of them have ended; whether they have."""
    return wait_until(lambda: not any(is_alive(process) for process in processes), seconds)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that only waits for a careless parent to notice its end does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], what: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(what)

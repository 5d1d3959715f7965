"""A stack as a whole: bring it up, take it down, one of these at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.local import supervisor
from scripts.local.alias import remove_alias
from scripts.local.components import components
from scripts.local.errors import StackError
from scripts.local.settings import Settings, load
from scripts.local.shutdown import take_down
from scripts.local.startup import Ascent

Say = Callable[[str], None]
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(settings: Settings, say: Say) -> None:
    """Start what is not running, wait until all of it works; on failure stop everything and raise."""
    settings.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    if settings.state.stat().st_uid != os.geteuid():
        raise StackError(f"{settings.state} belongs to another user: choose a folder of yours with --state")
    settings.state.chmod(0o711)  # PostgreSQL's user passes through; every folder inside is closed
    with only_one(settings):
        try:
            Ascent(settings, say).climb()
        except BaseException:
            with uninterrupted(), suppress(StackError):
                take_down(settings, say)
            raise


def down(settings: Settings, say: Say, *, purge: bool = False) -> None:
    """Stop everything that belongs to the stack; its data stays, unless purged."""
    if not settings.state.exists():
        return
    with only_one(settings):
        take_down(settings, say)
        if purge:
            if settings.needs_alias:
                remove_alias(settings.state)
            shutil.rmtree(settings.state)


def is_up(settings: Settings) -> bool:
    """Whether every component is running."""
    states = supervisor.states(settings)
    return all(
        component.name in states and states[component.name].is_running for component in components(settings)
    )


def remembered(state: Path) -> Settings:
    """The settings of the stack in this state folder, or what would be its defaults."""
    return load(state) or Settings(state)


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """One ``up`` or ``down`` of a stack at a time; the system lets go of the lock if we die."""
    with (settings.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"another up or down of {settings.state} is under way: wait for it") from error
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """No second Ctrl-C in the middle of cleaning up after the first."""
    before = {what: signal.signal(what, signal.SIG_IGN) for what in INTERRUPTIONS}
    try:
        yield
    finally:
        for what, handler in before.items():
            signal.signal(what, handler)

"""``up`` and ``down`` of a stack, one of them at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from scripts.local import supervisor
from scripts.local.alias import remove_alias
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.local.shutdown import shut_down
from scripts.local.stack import Stack
from scripts.local.startup import Startup

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(stack: Stack, on_progress: Callable[[str], None]) -> None:
    """Start what is not running and wait until the whole stack works; on failure stop everything and raise.

    ``on_progress`` is called with each step at its beginning.
    """
    state = stack.settings.state
    state.mkdir(mode=0o711, parents=True, exist_ok=True)
    if state.stat().st_uid != os.geteuid():
        raise StackError(f"{state} belongs to another user: choose a folder of yours with --state")
    state.chmod(0o711)  # PostgreSQL's user must pass through; every folder inside is closed
    with _lock(stack.settings):
        try:
            Startup(stack, on_progress).run()
        except BaseException:
            with _uninterrupted(), suppress(StackError):
                shut_down(stack, on_progress)
            raise


def down(stack: Stack, on_progress: Callable[[str], None], *, purge: bool = False) -> None:
    """Stop every process of the stack, and remove its data if ``purge`` is set."""
    settings = stack.settings
    if not settings.state.exists():
        return
    with _lock(settings):
        shut_down(stack, on_progress)
        if purge:
            if settings.needs_alias:
                remove_alias(settings.state)
            shutil.rmtree(settings.state)


def is_up(stack: Stack) -> bool:
    """Return whether every component is running."""
    states = supervisor.states(stack.settings)
    return all(
        component.name in states and states[component.name].is_running for component in stack.components
    )


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Hold the stack's lock; raise StackError if another process holds it. It is released when we die."""
    with (settings.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"another up or down of {settings.state} is running: wait for it") from error
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore further interruptions while cleaning up after the first."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

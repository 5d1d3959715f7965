"""Start components, and wait until they work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import httpx

from scripts.local import supervisor
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.waiting import wait_until

TIMEOUT_SECONDS = 300.0
"""How long any one step of the startup may take, on a slow and busy machine."""


class Starter:
    """Starts components and waits until they work, as long as they do not end."""

    def __init__(self, settings: Settings, on_progress: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._pids: dict[str, int] = {}

    def start(self, *names: str) -> None:
        """Start components; those that run stay as they are."""
        with supervisor.Supervisor(self._settings) as supervised:
            for name in names:
                supervised.start(name)

    def started_at(self, name: str) -> datetime:
        """Return when the component was started."""
        return datetime.fromtimestamp(supervisor.states(self._settings)[name].started, UTC)

    def wait_for(
        self,
        what: str,
        is_ready: Callable[[], bool],
        *,
        needs: Sequence[str] = (),
        seconds: float | None = None,
        missing: Callable[[], str] = str,
    ) -> None:
        """Wait until ``is_ready`` returns True. An httpx.TransportError counts as False.

        Raises StackError if one of the components that it ``needs`` ends, or after ``seconds`` (by default
        TIMEOUT_SECONDS); the error then ends with what is ``missing``.
        """
        seconds = TIMEOUT_SECONDS if seconds is None else seconds
        self._on_progress(f"waiting for {what}")

        def is_ready_now() -> bool:
            self._require_running(needs)
            with suppress(httpx.TransportError):
                return is_ready()
            return False

        if not wait_until(is_ready_now, seconds):
            suffix = f": {missing()}" if missing() else ""
            raise StackError(
                f"{what} did not come up within {seconds:.0f} seconds{suffix}", needs[0] if needs else None
            )

    def _require_running(self, names: Sequence[str]) -> None:
        """Raise StackError for a component that has ended, even if supervisord has restarted it."""
        states = supervisor.states(self._settings)
        for name in names:
            state = states.get(name)
            if state is None or state.has_ended or self._pids.setdefault(name, state.pid) != state.pid:
                raise StackError(f"{name} does not stay up", name)

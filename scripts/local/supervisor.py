"""supervisord, which keeps the components running: its configuration, and talking to it over its socket."""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from scripts.local import processes
from scripts.local.errors import StackError
from scripts.local.services.component import Component, environment
from scripts.local.settings import REPOSITORY, Settings, write_private

LOG_BYTES = "10MB"
# There is no supervisord, or it is about to go.
AWAY = (OSError, http.client.HTTPException, Fault)


@dataclass(frozen=True)
class State:
    """What supervisord says of a component."""

    name: str
    state: str  # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN
    pid: int
    started: float  # seconds since 1970

    @property
    def is_running(self) -> bool:
        """Up, and long enough to count."""
        return self.state == "RUNNING"

    @property
    def has_ended(self) -> bool:
        """Ended, whether by itself or not; supervisord may be about to start it again."""
        return self.state in {"STOPPED", "BACKOFF", "EXITED", "FATAL", "UNKNOWN"}

    @property
    def seconds_up(self) -> int:
        """How long it has been running."""
        return max(0, int(time.time() - self.started)) if self.is_running else 0


def configuration(settings: Settings, components: list[Component]) -> str:
    """supervisord's configuration: control by a unix socket, one program per component."""
    lines = [
        "[supervisord]",
        f"logfile={quoted(settings.logs / 'supervisord.log')}",
        f"logfile_maxbytes={LOG_BYTES}",
        "logfile_backups=2",
        f"pidfile={quoted(settings.state / 'supervisord.pid')}",
        f"directory={quoted(REPOSITORY)}",
        "umask=077",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={quoted(settings.supervisor_socket)}",
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for component in components:
        launch = [sys.executable, "-m", "scripts.local.launch", str(settings.state), component.name]
        group = str(component.signal_whole_group).lower()
        lines += [
            f"[program:{component.name}]",
            f"command={quoted(shlex.join(launch))}",
            f"stdout_logfile={quoted(settings.logs / component.name)}.log",
            f"stdout_logfile_maxbytes={LOG_BYTES}",
            "stdout_logfile_backups=2",
            "redirect_stderr=true",
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            # Whatever it needs may be away for long; the tries come more and more seldom.
            "startretries=1000",
            f"stopsignal={component.stop_signal}",
            f"stopwaitsecs={component.stop_seconds}",
            f"stopasgroup={group}",
            f"killasgroup={group}",
        ]
    return "\n".join(lines) + "\n"


def quoted(text: str | Path) -> str:
    """A value as supervisord's configuration reads it, which expands %."""
    return str(text).replace("%", "%%")


def start(settings: Settings, components: list[Component]) -> None:
    """Start supervisord in the background, with every component stopped; it listens when this returns."""
    path = settings.state / "supervisord.conf"
    write_private(path, configuration(settings, components))
    own = Component("supervisord", [sys.executable, "-m", "supervisor.supervisord"], REPOSITORY)
    surroundings = environment(own, settings)
    answer = subprocess.run(
        [*own.command, "-c", str(path)],
        check=False,
        env=surroundings,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if answer.returncode:
        raise StackError(f"supervisord does not start: {answer.stdout.strip()}", "supervisord")
    with Supervisor(settings) as supervised:
        processes.note_session(settings, supervised.pid())


class Supervisor:
    """A connection to this stack's supervisord. Raises one of AWAY when there is none."""

    def __init__(self, settings: Settings) -> None:
        self._transport = SupervisorTransport(None, None, f"unix://{settings.supervisor_socket}")
        self._server: Any = ServerProxy("http://localhost", transport=self._transport)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def pid(self) -> int:
        """supervisord's own process."""
        return int(self._server.supervisor.getPID())

    def states(self) -> dict[str, State]:
        """Every component's state, by name."""
        return {
            one["name"]: State(one["name"], one["statename"], one["pid"], one["start"])
            for one in self._server.supervisor.getAllProcessInfo()
        }

    def start(self, name: str) -> None:
        """Start a component; returns at once. One that is running stays as it is."""
        try:
            self._server.supervisor.startProcess(name, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} does not start: {fault.faultString}", name) from fault

    def stop(self, name: str) -> None:
        """Stop a component; returns at once. One that is not running, or not known, stays as it is."""
        try:
            self._server.supervisor.stopProcess(name, False)
        except Fault as fault:
            if not fault.faultString.startswith(("NOT_RUNNING", "BAD_NAME")):
                raise StackError(f"{name} does not stop: {fault.faultString}", name) from fault

    def any_alive(self, names: list[str]) -> bool:
        """Whether any of these components still has a process."""
        states = self.states()
        return any(states[name].pid for name in names if name in states)

    def shutdown(self) -> None:
        """End supervisord itself."""
        self._server.supervisor.shutdown()


def states(settings: Settings) -> dict[str, State]:
    """Every component's state by name; empty when there is no supervisord."""
    try:
        with Supervisor(settings) as supervisor:
            return supervisor.states()
    except AWAY:
        return {}

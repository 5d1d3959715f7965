"""supervisord, which keeps the components running: its configuration, and a client of its socket."""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from scripts.local import processes
from scripts.local.errors import StackError
from scripts.local.services.component import Component, environment
from scripts.local.settings import REPOSITORY, Settings, write_private
from scripts.local.stack import Stack

LOG_BYTES = "10MB"
UNREACHABLE = (OSError, http.client.HTTPException, Fault)
"""What a Supervisor raises when there is no supervisord, or when it is shutting down."""


@dataclass(frozen=True)
class State:
    """The state of a component as supervisord reports it."""

    name: str
    state: str  # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN
    pid: int
    started: float  # seconds since 1970

    @property
    def is_running(self) -> bool:
        """Whether it is up, and has been for supervisord's ``startsecs``."""
        return self.state == "RUNNING"

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, for any reason; supervisord may be about to restart it."""
        return self.state in {"STOPPED", "BACKOFF", "EXITED", "FATAL", "UNKNOWN"}

    @property
    def seconds_up(self) -> int:
        """For how long it has been running; 0 if it is not."""
        return max(0, int(time.time() - self.started)) if self.is_running else 0


def configuration(stack: Stack) -> str:
    """Return supervisord's configuration: control by a unix socket, one program per component."""
    settings = stack.settings
    lines = [
        "[supervisord]",
        f"logfile={_escape(settings.logs / 'supervisord.log')}",
        f"logfile_maxbytes={LOG_BYTES}",
        "logfile_backups=2",
        f"pidfile={_escape(settings.state / 'supervisord.pid')}",
        f"directory={_escape(REPOSITORY)}",
        "umask=077",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={_escape(settings.supervisor_socket)}",
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for component in stack.components:
        launch = [sys.executable, "-m", "scripts.local.launch", str(settings.state), component.name]
        group = str(component.signal_whole_group).lower()
        lines += [
            f"[program:{component.name}]",
            f"command={_escape(shlex.join(launch))}",
            f"stdout_logfile={_escape(settings.logs / component.name)}.log",
            f"stdout_logfile_maxbytes={LOG_BYTES}",
            "stdout_logfile_backups=2",
            "redirect_stderr=true",
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            # What the component needs may be away for long; supervisord waits longer before each retry.
            "startretries=1000",
            f"stopsignal={component.stop_signal}",
            f"stopwaitsecs={component.stop_seconds}",
            f"stopasgroup={group}",
            f"killasgroup={group}",
        ]
    return "\n".join(lines) + "\n"


def _escape(text: str | Path) -> str:
    """Escape a value for supervisord's configuration, in which % is special."""
    return str(text).replace("%", "%%")


def start(stack: Stack) -> None:
    """Start supervisord in the background, with every component stopped; it listens when this returns."""
    settings = stack.settings
    path = settings.state / "supervisord.conf"
    write_private(path, configuration(stack))
    supervisord = Component("supervisord", [sys.executable, "-m", "supervisor.supervisord"], REPOSITORY)
    done = subprocess.run(
        [*supervisord.command, "-c", str(path)],
        check=False,
        env=environment(supervisord, settings),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise StackError(f"supervisord does not start: {done.stdout.strip()}", "supervisord")
    with Supervisor(settings) as supervised:
        processes.record_session(settings, supervised.pid())


class Supervisor:
    """A client of the stack's supervisord. Every method may raise one of UNREACHABLE."""

    def __init__(self, settings: Settings) -> None:
        self._transport = SupervisorTransport(None, None, f"unix://{settings.supervisor_socket}")
        self._server: Any = ServerProxy("http://localhost", transport=self._transport)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def pid(self) -> int:
        """Return supervisord's own process id."""
        return int(self._server.supervisor.getPID())

    def states(self) -> dict[str, State]:
        """Return each component's state, by name."""
        return {
            one["name"]: State(one["name"], one["statename"], one["pid"], one["start"])
            for one in self._server.supervisor.getAllProcessInfo()
        }

    def start(self, name: str) -> None:
        """Start a component without waiting for it; one that is running stays as it is."""
        try:
            self._server.supervisor.startProcess(name, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} does not start: {fault.faultString}", name) from fault

    def stop(self, name: str) -> None:
        """Stop a component without waiting for it; ignore one that is not running, or not known."""
        try:
            self._server.supervisor.stopProcess(name, False)
        except Fault as fault:
            if not fault.faultString.startswith(("NOT_RUNNING", "BAD_NAME")):
                raise StackError(f"{name} does not stop: {fault.faultString}", name) from fault

    def are_stopped(self, names: Sequence[str]) -> bool:
        """Return whether none of these components has a process any more."""
        states = self.states()
        return not any(states[name].pid for name in names if name in states)

    def shutdown(self) -> None:
        """End supervisord itself."""
        self._server.supervisor.shutdown()


def states(settings: Settings) -> dict[str, State]:
    """Return each component's state, by name; none if there is no supervisord."""
    try:
        with Supervisor(settings) as supervisor:
            return supervisor.states()
    except UNREACHABLE:
        return {}

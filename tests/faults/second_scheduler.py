"""A second scheduler beside the stack's own, started again when it has died, as supervisord does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from scripts.local.services import airflow
from scripts.local.services.component import environment
from scripts.local.settings import Settings


class SecondScheduler:
    """Runs a scheduler in a process group of its own; restarts it in a thread until it is stopped."""

    def __init__(self, settings: Settings, connection: str) -> None:
        self._component = next(one for one in airflow.components(settings) if one.name == "scheduler")
        variables = environment(self._component, settings)
        self._environment = variables | {"AIRFLOW_CONN_KUBERNETES_DEFAULT": connection}
        self._log = settings.logs / "second-scheduler.log"
        self._is_over = False
        self._lock = threading.Lock()  # held while it is started, or told to stop
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep_up, name="second-scheduler")
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._component.command,
                cwd=self._component.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _keep_up(self) -> None:
        while True:
            self._process.wait()
            self._signal_group(signal.SIGKILL)  # its workers
            with self._lock:
                if self._is_over:
                    return
                self._process = self._start()

    def processes(self) -> list[psutil.Process]:
        """Return its main process, if it runs."""
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(self._process.pid)]
        return []

    def stop(self) -> None:
        """Stop it for good."""
        with self._lock:
            self._is_over = True
            self._signal_group(signal.SIGCONT)
            self._signal_group(signal.SIGTERM)
        self._thread.join(20)
        if self._thread.is_alive():
            self._signal_group(signal.SIGKILL)
            self._thread.join()

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def second_scheduler(settings: Settings, connection: str) -> Iterator[SecondScheduler]:
    """Run a second scheduler of the stack, with this connection to Kubernetes, in the block."""
    second = SecondScheduler(settings, connection)
    try:
        yield second
    finally:
        second.stop()

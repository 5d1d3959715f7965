"""The way to Airflow's UI: a port of this machine, as long as somebody wants it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx

from scripts.airflow_api import AirflowError, Api, why_not_imported
from scripts.kind.kubectl import KindError, Kubectl

DAGS = {"cpu_start", "cpu", "cpu_watch"}
PATIENCE_SECONDS = 300


class Forward:
    """``kubectl port-forward`` to Airflow's API server; it ends with its pod, and is then begun again."""

    def __init__(self, kubectl: Kubectl, port: int) -> None:
        service = ["-n", "airflow", "service/airflow-api-server"]
        self._command = kubectl.command("port-forward", *service, f"{port}:8080")
        self._process: subprocess.Popen[str] | None = None

    def keep(self) -> None:
        """See that it runs."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )

    def complaint(self) -> str:
        """What it ended with; empty while it runs."""
        if self._process is None or self._process.poll() is None or self._process.stderr is None:
            return ""
        return self._process.stderr.read().strip()

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


@contextmanager
def forwarded(kubectl: Kubectl, port: int) -> Iterator[Forward]:
    """Airflow at a port of this machine."""
    forward = Forward(kubectl, port)
    forward.keep()
    try:
        yield forward
    finally:
        forward.end()


def wait_for_dags(forward: Forward, api: Api, say: Callable[[str], None]) -> None:
    """Wait until Airflow lets us in and has read the DAGs; raise KindError for one that it can't read."""
    say("waiting for the DAGs")
    complaint, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        complaint = forward.complaint() or complaint
        forward.keep()
        with suppress(httpx.TransportError, AirflowError):
            for error in api.import_errors():
                raise KindError(why_not_imported(error["filename"], error["stack_trace"]))
            if {dag["dag_id"] for dag in api.dags()} >= DAGS:
                return
        time.sleep(1)
    raise KindError(f"Airflow has not read the DAGs in {PATIENCE_SECONDS} s: {complaint or 'see its pods'}")

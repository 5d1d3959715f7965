"""Forward a port of this machine to Airflow's UI on the cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx

from scripts.airflow_api import AirflowError, Api, import_error
from scripts.kind.kubectl import KindError, Kubectl

DAGS = {"cpu_start", "cpu", "cpu_watch", "cpu_answers"}
"""The DAGs without which no program can be run."""
PATIENCE_SECONDS = 300


class Forward:
    """`kubectl port-forward` to Airflow's API server. It ends with its pod; `keep` restarts it."""

    def __init__(self, kubectl: Kubectl, port: int) -> None:
        service = ["-n", "airflow", "service/airflow-api-server"]
        self._command = kubectl.command("port-forward", *service, f"{port}:8080")
        self._process: subprocess.Popen[str] | None = None

    def keep(self) -> None:
        """Start the forwarding unless it is running."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )

    def error(self) -> str:
        """Return what kubectl wrote to standard error when it ended; "" while it runs."""
        if self._process is None or self._process.poll() is None or self._process.stderr is None:
            return ""
        return self._process.stderr.read().strip()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


@contextmanager
def forwarded(kubectl: Kubectl, port: int) -> Iterator[Forward]:
    """Forward the port for as long as the context lasts."""
    forward = Forward(kubectl, port)
    forward.keep()
    try:
        yield forward
    finally:
        forward.stop()


def wait_for_dags(forward: Forward, api: Api, on_progress: Callable[[str], None]) -> None:
    """Wait until Airflow has read the DAGs. Raises KindError if it cannot read one, or takes too long."""
    on_progress("waiting for the DAGs")
    error_text, deadline = "", time.monotonic() + PATIENCE_SECONDS
    found: set[str] = set()
    while time.monotonic() < deadline:
        error_text = forward.error() or error_text
        forward.keep()
        with suppress(httpx.TransportError, AirflowError):
            for error in api.import_errors():
                raise KindError(import_error(error["filename"], error["stack_trace"]))
            found = {dag["dag_id"] for dag in api.dags()}
            if found >= DAGS:
                return
        time.sleep(1)
    missing = ", ".join(sorted(DAGS - found))
    cause = error_text or "see the log of its DAG processor"
    raise KindError(f"Airflow has not read the DAGs {missing} in {PATIENCE_SECONDS} s: {cause}")

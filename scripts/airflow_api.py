"""A client of Airflow's REST API, with what the stack, its demo and its tests need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

JSON = dict[str, Any]
PAGE = 1000  # objects per request


class AirflowError(Exception):
    """Airflow refused a request; the text is its message."""


class Api:
    """A client of one Airflow.

    Every request raises AirflowError if Airflow refuses it, and httpx.TransportError if it is unreachable.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._user, self._password = user, password
        # Airflow is on loopback, never behind a proxy.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def log_in(self) -> None:
        """Get a token. Every request does that if there is no token yet, or if it has expired."""
        response = self._http.post("/auth/token", json={"username": self._user, "password": self._password})
        if response.is_error:
            raise AirflowError(f"Airflow refuses user {self._user!r}: {_message(response)}")
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def request(self, method: str, path: str, below: str = "/api/v2", **options: Any) -> JSON:
        """Send a request to a path below ``below`` and return the JSON of the response."""
        if "Authorization" not in self._http.headers:
            self.log_in()
        response = self._http.request(method, f"{below}{path}", **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self.log_in()
            response = self._http.request(method, f"{below}{path}", **options)
        if response.is_error:
            raise AirflowError(f"{method} {path}: {_message(response)}")
        return dict(response.json()) if response.content else {}

    def health(self) -> JSON:
        """Return the ``status`` and latest heartbeat of each of Airflow's processes."""
        return self.request("GET", "/monitor/health")

    def dags(self) -> list[JSON]:
        """Return every DAG that has been parsed."""
        return self._all("/dags", "dags")

    def import_errors(self) -> list[JSON]:
        """Return every DAG file that can't be imported: ``filename``, ``stack_trace``, ``timestamp``."""
        return self._all("/importErrors", "import_errors")

    def trigger(self, dag: str, conf: Mapping[str, Any], run: str | None = None) -> JSON:
        """Start a DAG run now and return it; Airflow chooses its id unless ``run`` is given."""
        body = {"conf": dict(conf), "logical_date": None, **({"dag_run_id": run} if run else {})}
        return self.request("POST", f"/dags/{dag}/dagRuns", json=body)

    def run(self, dag: str, run: str) -> JSON:
        """Return a DAG run; its ``state`` is queued, running, success or failed."""
        return self.request("GET", f"/dags/{dag}/dagRuns/{run}")

    def runs(self, dag: str, **filters: Any) -> list[JSON]:
        """Return a DAG's runs; ``filters`` are the API's (``state``, ``run_id_pattern``, ``order_by``…)."""
        return self._all(f"/dags/{dag}/dagRuns", "dag_runs", **filters)

    def count_runs(self, dag: str, **filters: Any) -> int:
        """Return the number of a DAG's runs, without fetching them."""
        page = self.request("GET", f"/dags/{dag}/dagRuns", params={"limit": 1, **filters})
        return int(page["total_entries"])

    def tasks(self, dag: str, run: str = "~", **filters: Any) -> list[JSON]:
        """Return the task instances of a DAG run, or of all runs (``~``)."""
        return self._all(f"/dags/{dag}/dagRuns/{run}/taskInstances", "task_instances", **filters)

    def is_success(self, dag: str, run: str, task: str) -> bool:
        """Return whether a task of a DAG run has succeeded."""
        return {one["task_id"]: one["state"] for one in self.tasks(dag, run)}.get(task) == "success"

    def xcom(self, dag: str, run: str, task: str, key: str = "return_value") -> Any:
        """Return an XCom of a task."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        return self.request("GET", path, params={"deserialize": True})["value"]

    def log(self, dag: str, run: str, task: str, attempt: int, index: int = -1) -> list[str]:
        """Return the lines of a task's log."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        wanted = {"map_index": index, "full_content": True}
        response = self.request("GET", path, params=wanted, headers={"Accept": "application/json"})
        return [text for line in response["content"] for text in _log_lines(line)]

    def _all(self, path: str, key: str, **filters: Any) -> list[JSON]:
        found: list[JSON] = []
        while True:
            page = self.request("GET", path, params={"limit": PAGE, "offset": len(found), **filters})
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found


def _log_lines(line: str | JSON) -> list[str]:
    """Return the text of a log line, followed by the errors in it, without their tracebacks."""
    if isinstance(line, str):
        return [line]
    errors = [f"{one['exc_type']}: {one['exc_value']}" for one in line.get("error_detail") or []]
    return [str(line.get("event", "")), *errors]


def import_error(file: str, trace: str) -> str:
    """Return in one line why a DAG file can't be imported: the last line of its traceback."""
    return f"{file} can't be imported: {trace.strip().splitlines()[-1]}"


def _message(response: httpx.Response) -> str:
    """Return the message of an error response, in one line."""
    try:
        detail = response.json().get("detail", response.text)
    except ValueError:
        detail = response.text
    return f"{response.status_code} {detail}"[:500]

"""Airflow's REST API, as far as the stack, its demo and its tests need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

JSON = dict[str, Any]
PAGE = 1000


class AirflowError(Exception):
    """Airflow refused a request; the message is its own."""


class Api:
    """A client of one Airflow. Raises AirflowError when it refuses, httpx.TransportError when it is away."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._user, self._password = user, password
        # Loopback is never behind a proxy.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def log_in(self) -> None:
        """Take a token; done by itself on the first request and whenever one has expired."""
        answer = self._http.post("/auth/token", json={"username": self._user, "password": self._password})
        if answer.is_error:
            raise AirflowError(f"Airflow refuses user {self._user!r}: {message(answer)}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def request(self, method: str, path: str, below: str = "/api/v2", **options: Any) -> JSON:
        """One request below that path; its JSON answer."""
        if "Authorization" not in self._http.headers:
            self.log_in()
        answer = self._http.request(method, f"{below}{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self.log_in()
            answer = self._http.request(method, f"{below}{path}", **options)
        if answer.is_error:
            raise AirflowError(f"{method} {path}: {message(answer)}")
        return dict(answer.json()) if answer.content else {}

    def health(self) -> JSON:
        """Each of Airflow's processes: ``status`` and its latest heartbeat."""
        return self.request("GET", "/monitor/health")

    def dags(self) -> list[JSON]:
        """Every DAG that has been parsed."""
        return self._all("/dags", "dags")

    def import_errors(self) -> list[JSON]:
        """Every DAG file that can't be imported: ``filename``, ``stack_trace``, ``timestamp``."""
        return self._all("/importErrors", "import_errors")

    def trigger(self, dag: str, conf: Mapping[str, Any], run: str | None = None) -> JSON:
        """Start a run now; the run's id is Airflow's choice unless given."""
        body = {"conf": dict(conf), "logical_date": None, **({"dag_run_id": run} if run else {})}
        return self.request("POST", f"/dags/{dag}/dagRuns", json=body)

    def run(self, dag: str, run: str) -> JSON:
        """One run: ``state`` is queued, running, success or failed."""
        return self.request("GET", f"/dags/{dag}/dagRuns/{run}")

    def runs(self, dag: str, **filters: Any) -> list[JSON]:
        """Runs of a DAG; filters are the API's own (``state``, ``run_id_pattern``, ``order_by``...)."""
        return self._all(f"/dags/{dag}/dagRuns", "dag_runs", **filters)

    def count_runs(self, dag: str, **filters: Any) -> int:
        """How many runs there are, without fetching them."""
        page = self.request("GET", f"/dags/{dag}/dagRuns", params={"limit": 1, **filters})
        return int(page["total_entries"])

    def tasks(self, dag: str, run: str = "~", **filters: Any) -> list[JSON]:
        """The task instances of a run, or of all runs (``~``)."""
        return self._all(f"/dags/{dag}/dagRuns/{run}/taskInstances", "task_instances", **filters)

    def xcom(self, dag: str, run: str, task: str, key: str = "return_value") -> Any:
        """What a task left for others."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        return self.request("GET", path, params={"deserialize": True})["value"]

    def log(self, dag: str, run: str, task: str, attempt: int, index: int = -1) -> list[str]:
        """A task's log, as lines."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        wanted = {"map_index": index, "full_content": True}
        answer = self.request("GET", path, params=wanted, headers={"Accept": "application/json"})
        return [text for line in answer["content"] for text in log_lines(line)]

    def _all(self, path: str, key: str, **filters: Any) -> list[JSON]:
        found: list[JSON] = []
        while True:
            page = self.request("GET", path, params={"limit": PAGE, "offset": len(found), **filters})
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found


def log_lines(line: str | JSON) -> list[str]:
    """A line of a task's log, and below it the errors it tells of, without their tracebacks."""
    if isinstance(line, str):
        return [line]
    errors = [f"{one['exc_type']}: {one['exc_value']}" for one in line.get("error_detail") or []]
    return [str(line.get("event", "")), *errors]


def why_not_imported(file: str, trace: str) -> str:
    """Return one line: the DAG file, and the last line of what Python says."""
    return f"{file} can't be imported: {trace.strip().splitlines()[-1]}"


def message(answer: httpx.Response) -> str:
    """What an error response says, in one line."""
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    return f"{answer.status_code} {detail}"[:500]

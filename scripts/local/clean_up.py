"""What a stack has had for long enough goes: finished DAG runs, their tasks' logs, pods that have ended.

Nothing goes that a run in progress could need. ``airflow db clean`` chooses by age alone, whatever a run's
state: a stack that was down for long would lose the very runs that it is to go on with. So nothing is removed
that is younger than the oldest run in progress. What else is looked for of earlier runs is whether one has
told its CPU's answer (``dags/cpu_watch.py``), and that no longer than Redis keeps a CPU (CPU_TTL).
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from scripts.local.errors import StackError
from scripts.local.services import airflow, kubernetes, postgres
from scripts.local.services.component import environment
from scripts.local.settings import Settings

# Airflow's tables that grow by themselves, and what it counts their rows' age from. What belongs to a DAG run
# goes with it; versions of DAGs come only with changes of their files.
TABLES = {"dag_run": "start_date", "log": "dttm", "job": "latest_heartbeat"}
ROWS_AT_ONCE = 5_000
# A run that was marked as failed before it began has no age by which it would go.
NEVER_BEGUN = """
UPDATE dag_run SET start_date = end_date
  WHERE start_date IS NULL AND state IN ('success', 'failed') AND end_date < :'before'
"""
DAY = timedelta(days=1)
REDIS_KEEPS = timedelta(days=7)
POD_HAS_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Removed:
    """What has gone: rows by table, folders of logs, pods."""

    before: datetime
    rows: dict[str, int]
    logs: int
    pods: int

    def __str__(self) -> str:
        return (
            f"removed what is older than {self.before:%Y-%m-%d %H:%M} UTC: {self.rows['dag_run']} DAG runs, "
            f"{self.rows['log']} lines of the audit log, the logs of {self.logs} DAG runs, {self.pods} pods"
        )


def clean_up(settings: Settings, now: datetime | None = None) -> Removed:
    """Remove what is old, and say what that was. Raises StackError where the stack is not up."""
    with one_at_a_time(settings):
        before = oldest_to_keep(settings, now or datetime.now(UTC))
        return Removed(
            before,
            rows=remove_rows(settings, before),
            logs=remove_logs(settings.airflow_home / "logs", before.timestamp()),
            pods=remove_pods(settings, before),
        )


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Whoever comes while another one cleans up waits for it."""
    if not postgres.is_ready(settings):
        raise StackError(f"the stack in {settings.state} is not up: run up first")
    with (settings.state / "clean-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def oldest_to_keep(settings: Settings, now: datetime) -> datetime:
    """From when on all is kept."""
    expiry = airflow.callers(settings).get("CPU_TTL", "")
    redis_keeps = timedelta(seconds=int(expiry)) if expiry.isdigit() else REDIS_KEEPS
    kept = max(timedelta(days=settings.keep_days), redis_keeps + DAY)
    in_progress = "SELECT min(least(created_at, run_after)) FROM dag_run WHERE state IN ('queued', 'running')"
    ((oldest,),) = postgres.ask(settings, in_progress)
    return min([now - kept, *([datetime.fromisoformat(oldest)] if oldest else [])])


def remove_rows(settings: Settings, before: datetime) -> dict[str, int]:
    """Have Airflow clean its tables, where there is something to clean; how many rows of each were due."""
    drop_leftovers(settings)
    postgres.ask(settings, NEVER_BEGUN, before=before.isoformat())
    due = {name: count_old(settings, name, before) for name in TABLES}
    if any(due.values()):
        options = ["--skip-archive", "--yes", f"--batch-size={ROWS_AT_ONCE}", "--error-on-cleanup-failure"]
        chosen = f"--tables={','.join(TABLES)}"
        clean = airflow.airflow(
            settings,
            "clean",
            command=("db", "clean", f"--clean-before-timestamp={before.isoformat()}", chosen, *options),
        )
        answer = subprocess.run(
            clean.command,
            check=False,
            cwd=clean.folder,
            env=environment(clean, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if answer.returncode:
            raise StackError(f"airflow db clean fails: {answer.stdout.strip()[-2000:]}")
    return due


def count_old(settings: Settings, table: str, before: datetime) -> int:
    """How many rows of a table are due to go."""
    asked = 'SELECT count(*) FROM :"table" WHERE :"column" < :\'before\''
    ((number,),) = postgres.ask(settings, asked, table=table, column=TABLES[table], before=before.isoformat())
    return int(number)


def drop_leftovers(settings: Settings) -> None:
    """Drop the tables in which an ``airflow db clean`` that was killed had put the rows of a batch."""
    left = r"SELECT tablename FROM pg_tables WHERE tablename ~ '^_airflow_deleted__.*__b\d+$'"
    for (table,) in postgres.ask(settings, left):
        postgres.ask(settings, 'DROP TABLE IF EXISTS :"table"', table=table)


def remove_logs(logs: Path, before: float) -> int:
    """Remove the logs of DAG runs, and of the DAG processor's days, that were not written to since; how many.

    The folders above them stay, as a task may be about to make its own in there.
    """
    runs = [run for run in logs.glob("dag_id=*/run_id=*") if is_old(run, before)]
    days = [day for day in logs.glob("dag_processor/*") if is_old(day, before) and not day.is_symlink()]
    for folder in runs + days:
        shutil.rmtree(folder, ignore_errors=True)
    return len(runs)


def is_old(folder: Path, before: float) -> bool:
    """Whether nothing in the folder, itself included, was changed since."""
    return folder.lstat().st_mtime < before and all(
        path.lstat().st_mtime < before for path in folder.rglob("*")
    )


def remove_pods(settings: Settings, before: datetime) -> int:
    """Remove the pods of CPUs that have ended and were made before; how many."""
    api = kubernetes.core_api(settings)
    namespace = settings.namespace
    try:
        pods = api.list_namespaced_pod(namespace, label_selector="app=cluster-cpu").items
        old = [pod for pod in pods if has_had_its_time(pod, before)]
        for pod in old:
            options = {"preconditions": {"uid": pod.metadata.uid}}
            try:
                api.delete_namespaced_pod(pod.metadata.name, namespace, body=options)
            except ApiException as error:
                if error.status not in (404, 409):  # gone meanwhile, or another one by now
                    raise
    except ApiException as error:
        raise StackError(f"pods in namespace {namespace!r} can't be removed: {error.reason}") from error
    except HTTPError as error:
        raise StackError(f"the cluster of {settings.cluster_config} does not answer: {error}") from error
    finally:
        api.api_client.close()
    return len(old)


def has_had_its_time(pod: Any, before: datetime) -> bool:
    """Whether a pod has ended and is older."""
    return bool(pod.status.phase in POD_HAS_ENDED and pod.metadata.creation_timestamp < before)

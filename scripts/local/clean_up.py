"""Remove what is old: finished DAG runs, their tasks' logs, and pods that have ended.

Nothing is removed that a run in progress could need. ``airflow db clean`` chooses by age alone, whatever a
run's state: a stack that was down for a long time would lose the runs that it has to continue. So nothing is
removed that is younger than the oldest run in progress. Besides that, ``dags/cpu_watch.py`` asks of finished
runs whether they have posted their CPU's answer, for as long as Redis keeps the CPU (CPU_TTL).
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

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from scripts.local.errors import StackError
from scripts.local.services import airflow, kubernetes, postgres
from scripts.local.services.component import environment
from scripts.local.settings import Settings

TABLES = {"dag_run": "start_date", "log": "dttm", "job": "latest_heartbeat"}
"""Airflow's tables that grow with use, and the column by which it counts their rows' age.

The rows of other tables that belong to a DAG run are deleted with it. Versions of DAGs grow only with changes
of their files.
"""
ROWS_AT_ONCE = 5_000
SET_MISSING_START = """
UPDATE dag_run SET start_date = end_date
  WHERE start_date IS NULL AND state IN ('success', 'failed') AND end_date < :'cutoff'
"""
"""A run that was marked as failed before it began has no start, by which it would be removed."""
DAY = timedelta(days=1)
DEFAULT_CPU_TTL = timedelta(days=7)
ENDED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Removed:
    """How much was removed."""

    cutoff: datetime
    rows: dict[str, int]
    """Rows by table."""
    logs: int
    """DAG runs whose logs were removed."""
    pods: int

    def __str__(self) -> str:
        return (
            f"removed what is older than {self.cutoff:%Y-%m-%d %H:%M} UTC: {self.rows['dag_run']} DAG runs, "
            f"{self.rows['log']} lines of the audit log, the logs of {self.logs} DAG runs, {self.pods} pods"
        )


def clean_up(settings: Settings, now: datetime | None = None) -> Removed:
    """Remove what is old and return how much that was. Raises StackError if the stack is not up."""
    with _lock(settings):
        cutoff = cutoff_time(settings, now or datetime.now(UTC))
        return Removed(
            cutoff,
            rows=_remove_rows(settings, cutoff),
            logs=remove_logs(settings.airflow_home / "logs", cutoff),
            pods=remove_pods(settings, cutoff),
        )


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Wait until no other process cleans up, and keep others from it during the block."""
    if not postgres.is_ready(settings):
        raise StackError(f"the stack in {settings.state} is not up: run up first")
    with (settings.state / "clean-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cutoff_time(settings: Settings, now: datetime) -> datetime:
    """Return the time before which everything may be removed."""
    ttl = airflow.caller_variables(settings).get("CPU_TTL", "")
    cpu_ttl = timedelta(seconds=int(ttl)) if ttl.isdigit() else DEFAULT_CPU_TTL
    kept = max(timedelta(days=settings.keep_days), cpu_ttl + DAY)
    in_progress = "SELECT min(least(created_at, run_after)) FROM dag_run WHERE state IN ('queued', 'running')"
    ((oldest,),) = postgres.query(settings, in_progress)
    return min([now - kept, *([datetime.fromisoformat(oldest)] if oldest else [])])


def _remove_rows(settings: Settings, cutoff: datetime) -> dict[str, int]:
    """Have Airflow delete old rows of its tables; return how many of each table were old."""
    _drop_leftovers(settings)
    postgres.query(settings, SET_MISSING_START, cutoff=cutoff.isoformat())
    old = {name: _count_old(settings, name, cutoff) for name in TABLES}
    if any(old.values()):
        clean = airflow.command(
            settings,
            "clean",
            subcommand=["db", "clean"],
            options=[
                f"--clean-before-timestamp={cutoff.isoformat()}",
                f"--tables={','.join(TABLES)}",
                *("--skip-archive", "--yes", f"--batch-size={ROWS_AT_ONCE}", "--error-on-cleanup-failure"),
            ],
        )
        done = subprocess.run(
            clean.command,
            check=False,
            cwd=clean.folder,
            env=environment(clean, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise StackError(f"airflow db clean fails: {done.stdout.strip()[-2000:]}")
    return old


def _count_old(settings: Settings, table: str, cutoff: datetime) -> int:
    """Return how many rows of a table are old."""
    sql = 'SELECT count(*) FROM :"table" WHERE :"column" < :\'cutoff\''
    ((number,),) = postgres.query(settings, sql, table=table, column=TABLES[table], cutoff=cutoff.isoformat())
    return int(number)


def _drop_leftovers(settings: Settings) -> None:
    """Drop the tables into which an ``airflow db clean`` that was killed had moved the rows of a batch."""
    sql = r"SELECT tablename FROM pg_tables WHERE tablename ~ '^_airflow_deleted__.*__b\d+$'"
    for (table,) in postgres.query(settings, sql):
        postgres.query(settings, 'DROP TABLE IF EXISTS :"table"', table=table)


def remove_logs(logs: Path, cutoff: datetime) -> int:
    """Remove the old logs of DAG runs and of the DAG processor; return the number of DAG runs.

    The folders above them stay, because a task may be about to create its own folder there.
    """
    runs = [run for run in logs.glob("dag_id=*/run_id=*") if _is_old(run, cutoff)]
    days = [day for day in logs.glob("dag_processor/*") if not day.is_symlink() and _is_old(day, cutoff)]
    for folder in runs + days:
        shutil.rmtree(folder, ignore_errors=True)
    return len(runs)


def _is_old(folder: Path, cutoff: datetime) -> bool:
    """Return whether the folder and all that is in it were last changed before the cutoff."""
    return all(path.lstat().st_mtime < cutoff.timestamp() for path in (folder, *folder.rglob("*")))


def remove_pods(settings: Settings, cutoff: datetime) -> int:
    """Remove the CPUs' pods that have ended and were created before the cutoff; return their number."""
    api = kubernetes.core_api(settings)
    namespace = settings.namespace
    try:
        pods = api.list_namespaced_pod(namespace, label_selector="app=cluster-cpu").items
        old = [
            pod
            for pod in pods
            if pod.status.phase in ENDED_PHASES and pod.metadata.creation_timestamp < cutoff
        ]
        for pod in old:
            options = {"preconditions": {"uid": pod.metadata.uid}}
            try:
                api.delete_namespaced_pod(pod.metadata.name, namespace, body=options)
            except ApiException as error:
                if error.status not in (404, 409):  # deleted meanwhile, or replaced by another pod
                    raise
    except ApiException as error:
        raise StackError(f"pods in namespace {namespace!r} can't be removed: {error.reason}") from error
    except HTTPError as error:
        raise StackError(f"the cluster of {settings.cluster_config} does not answer: {error}") from error
    finally:
        api.api_client.close()
    return len(old)

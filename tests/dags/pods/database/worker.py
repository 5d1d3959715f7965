"""A worker in this process, as LocalExecutor has them: it runs a task in a process of its own.

The Task Execution API is in this process too, so nothing has to be served.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.executors.workloads import ExecuteTask
from airflow.executors.workloads.base import BundleInfo

from tests.support.airflow_database import BUNDLE

FILE = "dags.py"


@contextmanager
def dag_file(folder: Path, text: str) -> Iterator[None]:
    """Have workers find the DAGs of a file with that text, which is in this folder, during the block."""
    (folder / FILE).write_text(text)
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": BUNDLE, "classpath": local, "kwargs": {"path": str(folder)}}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        yield


def run_in_worker(workload: ExecuteTask) -> None:
    """Run a task until its process has ended."""
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, supervise_task

    task: Any = workload.ti
    client: Any = InProcessTestSupervisor._api_client()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, as all workers are
        supervise_task(
            ti=task,
            bundle_info=BundleInfo(name=BUNDLE),
            dag_rel_path=FILE,
            token="",
            client=client,
            log_path=workload.log_path,
        )

"""The DAGs that the benchmarks compare."""

from __future__ import annotations

import json
import subprocess
import sys

from scripts.local.settings import REPOSITORY


def tasks_of(module: str, dag: str) -> tuple[str, dict[str, list[str]]]:
    """Return the id of a design's DAG, and its tasks with those that follow each."""
    code = (
        f"import json; from scripts.bench.designs.{module} import {dag} as dag; "
        "tasks = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}; "
        "print(json.dumps([dag.dag_id, tasks]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    dag_id, tasks = json.loads(done.stdout.splitlines()[-1])
    return dag_id, tasks

"""A DAG for each mode of the provider's pod operator; as a script, run each once.

`python pod_operator.py FILE` writes the tasks' states and results into FILE. It is a script because Airflow
needs its home and database set before it is imported.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

_RESULT = "mkdir -p /airflow/xcom; echo '{\"acc\": 5}' > /airflow/xcom/return.json; echo said"


def one_pod(name: str, script: str, **options: Any) -> DAG:
    """Return a DAG of one pod that runs this script."""
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        KubernetesPodOperator(
            task_id="pod",
            name=name,
            namespace=os.environ["POD_NAMESPACE"],
            image=os.environ["POD_IMAGE"],
            image_pull_policy="IfNotPresent",
            cmds=["sh", "-c"],
            arguments=[script],
            in_cluster=False,
            config_file=os.environ["POD_KUBECONFIG"],
            cluster_context=os.environ["POD_CONTEXT"] or None,
            startup_check_interval_seconds=1,
            poll_interval=1,
            **options,
        )
    return dag


worker_plain = one_pod("worker-plain", "echo said")
worker_xcom = one_pod("worker-xcom", _RESULT, do_xcom_push=True)
deferred_plain = one_pod("deferred-plain", "echo said", deferrable=True)
deferred_xcom = one_pod("deferred-xcom", _RESULT, deferrable=True, do_xcom_push=True)
failing = one_pod("failing", "exit 3")


def main() -> None:
    """Run every DAG and write the outcomes."""
    outcomes = {}
    for dag in (worker_plain, worker_xcom, deferred_plain, deferred_xcom, failing):
        task = dag.test().get_task_instance("pod")
        outcomes[dag.dag_id] = {"state": task.state, "result": task.xcom_pull(task_ids="pod")}
    Path(sys.argv[1]).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()

"""Pods of a user's own definition on the cluster under test."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from airflow_pods import PodFailed, PodOperator, run_pod
from airflow_pods.log_tail import log_tail
from airflow_pods.trigger import outcome_of
from tests.support.cluster import Cluster

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _connection(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kube_config_path": str(cluster.kubeconfig), "cluster_context": cluster.context}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))


def operator(cluster: Cluster, script: str, **parameters: Any) -> PodOperator:
    return PodOperator(
        task_id="any",
        name=f"any-{next(_numbers)}",
        namespace=cluster.namespace,
        image=cluster.image,
        cmds=["sh", "-c"],
        arguments=[script],
        **{"security_context": {"runAsUser": 65532}, **parameters},
    )


async def test_a_pod_has_its_init_container_its_sidecar_and_its_environment(cluster: Cluster) -> None:
    whole = {
        "metadata": {"annotations": {"example.org/a": "b"}},
        "spec": {
            "initContainers": [{"name": "first", "image": cluster.image, "command": ["true"]}],
            "containers": [
                {"name": "base", "env": [{"name": "A", "value": "1"}]},
                {"name": "sidecar", "image": cluster.image, "command": ["sleep", "60"]},
            ],
        },
    }
    script = """echo "{\\"a\\": \\"$A\\", \\"b\\": \\"$B\\"}" > /dev/termination-log"""
    task = operator(cluster, script, pod=whole, env_vars={"B": "2"})
    assert await run_pod("kubernetes_default", task.manifest()) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("script", ["true", "echo all done > /dev/termination-log"])
@pytest.mark.parametrize("count", [None, 2])
async def test_a_pod_that_leaves_no_result_succeeds(cluster: Cluster, script: str, count: int | None) -> None:
    task = operator(cluster, script, do_xcom_push=False, count=count)
    outcome = await outcome_of(task.template(), print)
    result = outcome["result"]
    assert result is None if count is None else result["succeeded"] == count


async def test_the_last_lines_of_a_failed_pod_s_log_can_be_read(cluster: Cluster) -> None:
    task = operator(cluster, "echo why; exit 3")
    with pytest.raises(PodFailed) as raised:
        await run_pod("kubernetes_default", task.manifest())
    assert raised.value.exit_code == 3
    heading, *lines = await log_tail("kubernetes_default", task.manifest())
    assert (heading, lines) == (f"The last lines of the log of pod {task.name}:", ["why"])

"""The manifests on a real cluster: what the namespace contains and which pods it admits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import airflow_pods as pods
from tests.cluster.conftest import status_of
from tests.cluster.pods import manifest
from tests.support.cluster import Cluster


def test_applying_the_manifests_again_changes_nothing(cluster: Cluster, overlay: Path) -> None:
    lines = cluster.kubectl("apply", "-k", str(overlay)).splitlines()
    assert len(lines) == 7
    assert all(line.endswith(" unchanged") for line in lines), lines


@pytest.mark.parametrize("command", ["load", "exec", "read", "store"])
def test_the_namespace_admits_the_pods_that_the_dags_create(account: Cluster, command: str) -> None:
    made = pods.manifest_of(
        f"cpu-20261122-084725-a1b2c3-8-3-{command}",
        account.namespace,
        "cpu:dev",
        [command, "--start", "20261122-084725-a1b2c3", *["x" * 65_536] * 4],
        {
            "app": "cluster-cpu",
            "start": "20261122-084725-a1b2c3",
            "cpu": "8",
            "cycle": "3",
            "command": command,
        },
        {"RESULT_FILE": "/dev/termination-log"},
        {"REDIS_URL": ("cpu-redis", "url")},
        600,
    )
    taken = account.api.create_namespaced_pod(
        account.namespace, made, dry_run="All", field_validation="Strict"
    )
    assert taken.spec.containers[0].resources.limits == {"cpu": "1", "memory": "256Mi"}


def more_memory(made: pods.Manifest) -> None:
    made["spec"]["containers"][0]["resources"]["limits"]["memory"] = "257Mi"


def more_cpu(made: pods.Manifest) -> None:
    made["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2"


@pytest.mark.parametrize("change", [more_memory, more_cpu])
def test_the_namespace_refuses_a_pod_that_requests_more_than_a_cycle_s_resources(
    account: Cluster, change: Any
) -> None:
    made = manifest(account.namespace, account.image, "true")
    change(made)
    create = account.api.create_namespaced_pod
    assert status_of(lambda: create(account.namespace, made, dry_run="All")) == 403

"""The API server of a real cluster validates what `make kind` applies in addition to the chart."""

from __future__ import annotations

import subprocess
from typing import Any

import yaml

from scripts.kind import laptop
from tests.support.cluster import Cluster


def test_the_api_server_accepts_the_manifests_of_redis_and_postgresql(cluster: Cluster) -> None:
    command = cluster.kubectl_command("kustomize", str(laptop.FOLDER))
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    # In the namespace of the tests, because the real ones may exist on this cluster and belong to others.
    ours = [one for one in objects if one["metadata"].get("namespace") in ("airflow", "redis")]
    for one in ours:
        one["metadata"]["namespace"] = cluster.namespace
    lines = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(ours))
    assert len(lines.splitlines()) == len(ours) == 6
    assert all(line.endswith(" created (server dry run)") for line in lines.splitlines())

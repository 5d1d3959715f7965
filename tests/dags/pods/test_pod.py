"""A pod as the API sends it says the same as the client's model of it."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient

from airflow_pods import manifest_of
from airflow_pods.pod import Pod
from tests.support.kubernetes_api import finished, terminated


def fields() -> dict[str, Any]:
    pod = manifest_of("cpu-1", "jobs", "cpu:1", ["exec"], {"app": "cpu"}, {"A": "1"}, {"B": ("s", "k")}, 60)
    stamps = {"uid": "u", "resourceVersion": "5", "creationTimestamp": "2026-01-02T03:04:05Z"}
    pod["metadata"] |= {**stamps, "managedFields": [{"manager": "kubelet"}]}
    pod["status"] = {**finished(main=terminated("broken", 3)), "phase": "Failed"}
    return dict(pod)


PATHS = [
    "metadata.name",
    "metadata.labels",
    "metadata.annotations",
    "metadata.creation_timestamp",
    "metadata.deletion_timestamp",
    "metadata.resource_version",
    "spec.active_deadline_seconds",
    "spec.containers.0.image",
    "spec.containers.0.env.1.value_from.secret_key_ref.key",
    "status.phase",
    "status.reason",
    "status.conditions",
    "status.init_container_statuses",
    "status.container_statuses.0.state.terminated.exit_code",
    "status.container_statuses.0.state.terminated.message",
    "status.container_statuses.0.state.waiting",
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_field_has_the_value_that_the_model_has(path: str) -> None:
    async with ApiClient() as client:
        model = client.deserialize(SimpleNamespace(data=json.dumps(fields())), "V1Pod")
    values = []
    for pod in (Pod(fields()), model):
        value: Any = pod
        for part in path.split("."):
            value = value[int(part)] if part.isdecimal() else getattr(value, part)
        values.append(value)
    assert values[0] == values[1]


def test_a_pod_can_be_copied() -> None:
    assert copy.deepcopy(Pod(fields())).metadata.uid == "u"


def test_what_nobody_reads_is_not_kept() -> None:
    assert Pod(fields()).metadata.managed_fields is None

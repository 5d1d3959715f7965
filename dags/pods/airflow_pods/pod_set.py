"""The pods of a set: their names, labels and environment, as those of a Kubernetes Indexed Job.

| what | where |
|---|---|
| the set's name | label ``airflow-pods/set`` |
| the pod's index, from 0 | label ``airflow-pods/index``, annotation ``batch.kubernetes.io/job-completion-index``, environment variable ``JOB_COMPLETION_INDEX`` |
| the number of indices | environment variable ``JOB_COMPLETIONS`` |
| how many pods of that index failed before | label ``airflow-pods/attempt``, environment variable ``JOB_ATTEMPT`` |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_pods.errors import PodRefused
from airflow_pods.manifest import Manifest
from airflow_pods.pod import Pod
from airflow_pods.result import NEEDED, Result

SET = "airflow-pods/set"
INDEX = "airflow-pods/index"
ATTEMPT = "airflow-pods/attempt"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
LONGEST_NAME = 63
"""The most characters of a DNS label."""


@dataclass(frozen=True)
class IndexedPods:
    """How many pods a set has and what becomes of their results: what an Indexed Job's spec says."""

    count: int
    parallelism: int
    """How many pods are in flight at most."""
    retries_per_pod: int = 0
    """How often another pod is created for an index whose pod has failed."""
    max_failed: int = 0
    """How many indices may fail before the set does."""
    reduce: Callable[[Any, Result], Any] | None = None
    """Returns the new total of the total so far, None at first, and a pod's result; in no certain order."""
    result: str = NEEDED
    """What becomes of what a container leaves: see result.py."""

    def check(self, manifest: Manifest) -> None:
        """Raise PodRefused if the numbers make no sense, or if a pod's name would be too long."""
        for field, least in (("count", 0), ("parallelism", 1), ("retries_per_pod", 0), ("max_failed", 0)):
            value = getattr(self, field)
            if type(value) is not int or value < least:
                raise PodRefused(f"{field} is {value!r} (give a whole number of at least {least})")
        name = manifest["metadata"]["name"]
        longest = pod_name(name, max(self.count - 1, 0), self.retries_per_pod)
        if len(longest) > LONGEST_NAME:
            most = LONGEST_NAME - len(longest) + len(name)
            raise PodRefused(
                f"the name {name} is too long for {self.count} pods: {longest} would have {len(longest)} "
                f"characters, and {LONGEST_NAME} is the most (give a name of at most {most})"
            )


def set_selector(manifest: Manifest) -> str:
    """Return the label selector of all pods of the set."""
    return f"{SET}={manifest['metadata']['name']}"


def pod_name(name: str, index: int, attempt: int) -> str:
    """Return the name of a pod of the set of that name."""
    return f"{name}-{index}-{attempt}" if attempt else f"{name}-{index}"


def pod_manifest(manifest: Manifest, count: int, index: int, attempt: int) -> Manifest:
    """Return one pod of the set that is made from the manifest."""
    metadata, spec = manifest["metadata"], manifest["spec"]
    name = metadata["name"]
    labels = {SET: name, INDEX: str(index), ATTEMPT: str(attempt)}
    variables = {"JOB_COMPLETION_INDEX": index, "JOB_COMPLETIONS": count, "JOB_ATTEMPT": attempt}
    env = [{"name": variable, "value": str(value)} for variable, value in variables.items()]

    def with_index(container: dict[str, Any]) -> dict[str, Any]:
        others = [each for each in container.get("env") or () if each["name"] not in variables]
        return {**container, "env": env + others}

    return {
        **manifest,
        "metadata": {
            **metadata,
            "name": pod_name(name, index, attempt),
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": {**(metadata.get("annotations") or {}), COMPLETION_INDEX: str(index)},
        },
        "spec": {
            **spec,
            **{
                kind: [with_index(container) for container in spec[kind]]
                for kind in ("initContainers", "containers")
                if spec.get(kind)
            },
        },
    }


def place_of(pod: Pod) -> tuple[int, int]:
    """Return the index and the attempt of a pod of a set; (-1, 0) if somebody has changed its labels."""
    labels = pod.metadata.labels or {}
    try:
        return int(labels[INDEX]), int(labels[ATTEMPT])
    except (KeyError, ValueError):
        return -1, 0

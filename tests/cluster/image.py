"""Run pods of the image under test, built as the DAGs build them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import airflow_pods as pods
from tests.support.cluster import Cluster, ended, terminated

PYTHON = "/usr/local/bin/python"

_numbers = itertools.count(1)


class Image:
    """Runs pods of one image, built as the DAGs build them."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self.cluster = cluster
        self._image = image

    def run(self, *args: str, redis: str = "", container: Any = (), **spec: Any) -> Any:
        """Run a pod to its end and return it; `container` and `spec` are merged into its manifest."""
        name = f"image-{next(_numbers)}"
        environment = {"REDIS_URL": redis, "RESULT_FILE": "/dev/termination-log"}
        made = pods.manifest_of(name, self.cluster.namespace, self._image, args, {}, environment, {}, 60)
        made["spec"].update(spec)
        # The tag may have been pushed again.
        made["spec"]["containers"][0].update({"imagePullPolicy": "Always"}, **dict(container))
        self.cluster.api.create_namespaced_pod(self.cluster.namespace, made)
        return self.cluster.until(name, ended)

    def answer(self, *args: str, **more: Any) -> Any:
        """Run one command of the CPU in a pod and return its result."""
        pod = self.run(*args, **more)
        assert pod.status.phase == "Succeeded", pod.status
        return json.loads(terminated(pod).message)

    def python(self, code: str) -> str:
        """Run code with the image's Python and return what it prints."""
        pod = self.run(container={"command": [PYTHON, "-c", code]})
        assert pod.status.phase == "Succeeded", pod.status
        return self.cluster.log(pod.metadata.name)

"""Pods of the image under test, as the DAGs make them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from dags import pods
from tests.support.cluster import Cluster, ended, terminated

PYTHON = "/usr/local/bin/python"

_numbers = itertools.count(1)


class Image:
    """Runs pods of the image, as the DAGs make them."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self.cluster = cluster
        self._image = image

    def run(self, *args: str, redis: str = "", container: Any = (), **spec: Any) -> Any:
        """A pod at its end; `container` and `spec` add to its container and to itself."""
        name = f"image-{next(_numbers)}"
        environment = {"REDIS_URL": redis, "RESULT_FILE": "/dev/termination-log"}
        made = pods.manifest_of(name, self.cluster.namespace, self._image, args, {}, environment, {}, 60)
        made["spec"].update(spec)
        # A tag that has been pushed anew is to be pulled anew.
        made["spec"]["containers"][0].update({"imagePullPolicy": "Always"}, **dict(container))
        self.cluster.api.create_namespaced_pod(self.cluster.namespace, made)
        return self.cluster.until(name, ended)

    def answer(self, *args: str, **more: Any) -> Any:
        """The result that a command's pod leaves."""
        pod = self.run(*args, **more)
        assert pod.status.phase == "Succeeded", pod.status
        return json.loads(terminated(pod).message)

    def python(self, code: str) -> str:
        """What the image's Python prints."""
        pod = self.run(container={"command": [PYTHON, "-c", code]})
        assert pod.status.phase == "Succeeded", pod.status
        return self.cluster.log(pod.metadata.name)

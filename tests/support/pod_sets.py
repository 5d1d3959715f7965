"""The cluster of a set of pods in tests: gives each pod the status that its fate says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow_pods import Manifest, Result, manifest_of
from airflow_pods.pod_set import ATTEMPT, INDEX, SET
from tests.support.kubernetes_api import finished, terminated
from tests.support.nodeless import NAMESPACE, Nodeless

FAILED = {**finished(main=terminated("broken", 1)), "phase": "Failed"}
REFUSED = {**finished(main=terminated("not my data", 2)), "phase": "Failed"}


def manifest(name: str = "items") -> Manifest:
    return manifest_of(name, NAMESPACE, "items:1", ["work"], {"app": "items"}, {"A": "1"}, {}, 60)


def add_index(total: Any, result: Result) -> Any:
    """A reduce that counts each index."""
    counts = Counter(total or {})
    counts[str(result["index"])] += 1
    return dict(counts)


def once_each(count: int) -> dict[str, int]:
    """The total of a set of which each index was reduced once."""
    return {str(index): 1 for index in range(count)}


def succeeded(index: int) -> dict[str, Any]:
    return finished(main=terminated(json.dumps({"index": index})))


def index_of(pod: Any) -> int:
    return int(pod["metadata"]["labels"][INDEX])


def attempt_of(pod: Any) -> int:
    return int(pod["metadata"]["labels"][ATTEMPT])


def is_ended(pod: Any) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


Fate = Callable[[Any], "dict[str, Any] | None"]
"""The status that a pod takes; None while it stays as it is."""


def all_succeed(pod: Any) -> dict[str, Any]:
    return succeeded(index_of(pod))


class Node:
    """Gives each new pod the status that its fate says, one turn of the event loop after its creation."""

    def __init__(self, endpoint: Nodeless, fate: Fate) -> None:
        self.fate = fate
        self.created: list[str] = []
        self.most_in_flight = 0
        self._endpoint = endpoint
        self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._running.cancel()

    async def _run(self) -> None:
        seen: set[str] = set()
        while True:
            pods = [pod for pod in self._endpoint.pods().values() if SET in pod["metadata"]["labels"]]
            self.most_in_flight = max(self.most_in_flight, sum(not is_ended(pod) for pod in pods))
            for pod in pods:
                uid = pod["metadata"]["uid"]
                if uid not in seen:
                    seen.add(uid)
                    self.created.append(pod["metadata"]["name"])
                if not is_ended(pod) and (status := self.fate(pod)):
                    self._endpoint.report(pod["metadata"]["name"], status)
            await asyncio.sleep(0.001)

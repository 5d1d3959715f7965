"""The floor: a plain Kubernetes Job, whose controller creates the pods; a client only watches them end.

The pods of a plain Job are alike, so all of them execute the same cycle: each but the first finds its result
in Redis and returns it. A Job whose pods have numbers (Indexed) needs Kubernetes 1.22.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from kubernetes_asyncio import client
from kubernetes_asyncio.watch import Watch

from airflow_pods.status import termination_of
from scripts.bench.bare import Bare, connected
from scripts.local.settings import Settings

COMPLETIONS = 10_000
"""More than any measurement takes: the Job is deleted when it has run for long enough."""
BACKOFF_LIMIT = 100
"""How many pods may fail: where a node starts many at once, some may not reach Redis in time."""
PATIENCE_SECONDS = 900


class Measured(NamedTuple):
    """What the client has seen of a Job."""

    ends: list[float]
    """When each pod had ended, in seconds since 1970, in this order."""
    client_seconds: float
    """The CPU seconds of the client."""

    def seconds_per_pod(self, at_once: int) -> list[float]:
        """Return the seconds from each pod's end to that of the pod that is ``at_once`` pods later."""
        return [later - earlier for earlier, later in zip(self.ends, self.ends[at_once:], strict=False)]


async def measure(settings: Settings, program: str, at_once: int, seconds: float, pods: int) -> Measured:
    """Run a Job with so many pods at once, for so many seconds and pods at least after the first ones.

    Exits the program if the pods do not end.
    """
    async with connected(settings, f"job-{time.time_ns() % 10**9}") as bare:
        await bare.store(program)
        await bare.load(0)
        await bare.execute(0, 1)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), _running_job(bare, at_once) as selector:
                began = time.thread_time()
                ends = await _ends(bare, selector, at_once, seconds, pods)
                return Measured(ends, time.thread_time() - began)
        except TimeoutError:
            sys.exit("the pods of the Job do not end")


@asynccontextmanager
async def _running_job(bare: Bare, at_once: int) -> AsyncIterator[str]:
    """Create a Job and yield the label selector of its pods; delete it, and wait until its pods are gone."""
    pod = bare.manifest("job", bare.exec_arguments(0, 1))
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    job: Any = {
        "metadata": {"name": name},
        "spec": {
            "parallelism": at_once,
            "completions": COMPLETIONS,
            "backoffLimit": BACKOFF_LIMIT,
            "template": {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]},
        },
    }
    selector = f"job-name={name}"
    batch = client.BatchV1Api(bare.api.api_client)
    await batch.create_namespaced_job(namespace, job)
    try:
        yield selector
    finally:
        await batch.delete_namespaced_job(name, namespace, propagation_policy="Background")
        list_pods = bare.api.list_namespaced_pod
        while (await list_pods(namespace, label_selector=selector, limit=1)).items:  # noqa: ASYNC110
            await asyncio.sleep(1)


async def _ends(bare: Bare, selector: str, at_once: int, seconds: float, pods: int) -> list[float]:
    """Return when each pod was seen to have ended, as soon as there are enough of them."""
    ended: dict[str, float] = {}
    events: Any = Watch().stream(
        bare.api.list_namespaced_pod, bare.settings.namespace, label_selector=selector
    )
    async with events:
        async for event in events:
            end = termination_of(event["object"])
            if end and not end.exit_code:
                ended.setdefault(event["object"].metadata.name, time.time())
            if is_enough(ends := list(ended.values()), at_once, seconds, pods):
                return ends
    raise TimeoutError


def is_enough(ends: Sequence[float], at_once: int, seconds: float, pods: int) -> bool:
    """Return whether so many pods and seconds have passed since the first ``at_once`` pods had ended."""
    return len(ends) - at_once >= pods and ends[-1] - ends[at_once - 1] >= seconds

"""The floor: a plain Kubernetes Job, whose controller creates the pods; a client only watches them end.

The pods of a plain Job are alike, so all of them execute the same cycle: each but the first finds its result
in Redis and returns it. A Job whose pods have numbers (Indexed) needs Kubernetes 1.22.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

from kubernetes_asyncio import client

from airflow_pods.status import termination_of
from scripts.bench.bare import Bare, changes, one_cycle_executed
from scripts.local.settings import Settings

COMPLETIONS = 10_000
"""More than any measurement by seconds takes: the Job is deleted when it has run for long enough."""
BACKOFF_LIMIT = 100
"""How many pods may fail: where a node starts many at once, some may not reach Redis in time."""
PATIENCE_SECONDS = 900


class Measured(NamedTuple):
    """What the client has seen of a Job."""

    created: float
    """When the Job was created, in seconds since 1970."""
    ends: list[float]
    """When each pod had ended, in seconds since 1970, in this order."""
    client_seconds: float
    """The CPU seconds of the client."""

    def seconds_per_pod(self, at_once: int) -> list[float]:
        """Return the seconds from each pod's end to that of the pod that is ``at_once`` pods later."""
        return [later - earlier for earlier, later in zip(self.ends, self.ends[at_once:], strict=False)]


async def measure(settings: Settings, program: str, at_once: int, seconds: float, pods: int) -> Measured:
    """Run a Job with ``at_once`` pods at once; measure for ``seconds`` and ``pods`` at least after those.

    Exits the program if the pods do not end.
    """

    def is_over(ends: Sequence[float]) -> bool:
        return is_enough(ends, at_once, seconds, pods)

    return await _run(settings, program, at_once, COMPLETIONS, is_over, PATIENCE_SECONDS)


async def complete(
    settings: Settings, program: str, at_once: int, completions: int, patience: float
) -> Measured:
    """Run a Job with ``at_once`` pods at once until ``completions`` pods have completed.

    Exits the program if that takes longer than ``patience`` seconds.
    """

    def is_over(ends: Sequence[float]) -> bool:
        return len(ends) >= completions

    return await _run(settings, program, at_once, completions, is_over, patience)


async def _run(
    settings: Settings,
    program: str,
    at_once: int,
    completions: int,
    is_over: Callable[[Sequence[float]], bool],
    patience: float,
) -> Measured:
    async with one_cycle_executed(settings, f"job-{time.time_ns() % 10**9}", program) as bare:
        created = time.time()
        try:
            async with asyncio.timeout(patience), _running_job(bare, at_once, completions) as selector:
                began = time.thread_time()
                ends = await _ends(bare, selector, is_over)
                return Measured(created, ends, time.thread_time() - began)
        except TimeoutError:
            sys.exit(f"the pods of the Job do not end within {patience:.0f} s")


@asynccontextmanager
async def _running_job(bare: Bare, at_once: int, completions: int) -> AsyncIterator[str]:
    """Create a Job and yield the label selector of its pods; delete it, and wait until its pods are gone."""
    pod = bare.manifest("job", bare.exec_arguments(0, 1), app="job")
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    job: Any = {
        "metadata": {"name": name},
        "spec": {
            "parallelism": at_once,
            "completions": completions,
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


async def _ends(bare: Bare, selector: str, is_over: Callable[[Sequence[float]], bool]) -> list[float]:
    """Return when each pod was seen to have ended, as soon as there are enough of them."""
    ended: dict[str, float] = {}
    while True:
        async with aclosing(changes(bare.api, bare.settings.namespace, selector)) as pods:
            async for pod in pods:
                end = termination_of(pod)
                if end and not end.exit_code:
                    ended.setdefault(pod.metadata.name, time.time())
                if is_over(ends := list(ended.values())):
                    return ends


def is_enough(ends: Sequence[float], at_once: int, seconds: float, pods: int) -> bool:
    """Return whether ``pods`` pods and ``seconds`` have passed since the first ``at_once`` pods had ended."""
    return len(ends) - at_once >= pods and ends[-1] - ends[at_once - 1] >= seconds

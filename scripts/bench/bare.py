"""The limit: a client that only creates a pod, watches it, reads its result and deletes it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kubernetes_asyncio import client, config
from kubernetes_asyncio.watch import Watch
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from airflow_pods import Manifest, manifest_of
from airflow_pods.status import is_finished, termination_of
from scripts.local.settings import SECRET, Settings

POD_SECONDS = 120
"""How long a pod may take."""
MAX_TRIES = 5


class PodFailed(Exception):
    """A pod has failed; the message says how."""


class Bare:
    """The CPUs of one start run; each command is a pod, and there is nothing else."""

    def __init__(self, api: Any, settings: Settings, start: str) -> None:
        self.api = api
        self.settings = settings
        self.start = start

    async def store(self, program: str) -> None:
        """Store the program."""
        encoded = base64.b64encode(zlib.compress(program.encode())).decode()
        await self._pod("store", ["store", "--start", self.start, "--encoded", encoded])

    async def load(self, cpu: int) -> None:
        """Load a CPU."""
        await self._pod(f"{cpu}-load", ["load", "--start", self.start, "--cpu", str(cpu)])

    async def execute(self, cpu: int, cycle: int) -> float:
        """Execute a cycle; return when its result was known, in seconds since 1970."""
        result = await self._pod(f"{cpu}-{cycle}-exec", self.exec_arguments(cpu, cycle))
        if (result["status"], result["cycle"]) != ("ok", cycle):
            raise SystemExit(f"cycle {cycle} of CPU {cpu} gave {result}")
        return time.time()

    def exec_arguments(self, cpu: int, cycle: int) -> list[str]:
        """Return the command that executes a cycle."""
        return ["exec", "--start", self.start, "--cpu", str(cpu), "--cycle", str(cycle)]

    def manifest(self, name: str, arguments: Sequence[str]) -> Manifest:
        """Return a pod that runs a command as the pods of the DAGs do."""
        return manifest_of(
            f"bare-{self.start}-{name}",
            self.settings.namespace,
            self.settings.image,
            arguments,
            {"app": "bare"},
            {"RESULT_FILE": "/dev/termination-log"},
            {"REDIS_URL": (SECRET, "url")},
            POD_SECONDS,
        )

    # As a DAG's task does: where a node starts many pods at once, one may not reach Redis in time.
    @retry(
        retry=retry_if_exception_type(PodFailed),
        wait=wait_random(0, 2),
        stop=stop_after_attempt(MAX_TRIES),
        reraise=True,
    )
    async def _pod(self, name: str, arguments: Sequence[str]) -> dict[str, Any]:
        manifest = self.manifest(name, arguments)
        pod = await self.api.create_namespaced_pod(self.settings.namespace, manifest)
        name = pod.metadata.name
        async with Watch().stream(
            self.api.list_namespaced_pod,
            pod.metadata.namespace,
            field_selector=f"metadata.name={name}",
            resource_version=pod.metadata.resource_version,
            timeout_seconds=POD_SECONDS,
        ) as events:
            async for event in events:
                pod = event["object"]
                if is_finished(pod):
                    break
        end = termination_of(pod)
        await self.api.delete_namespaced_pod(name, pod.metadata.namespace)
        if end is None or end.exit_code:
            raise PodFailed(f"pod {name} failed: {pod.status.phase} {pod.status.message or end}")
        return dict(json.loads(end.message))


@asynccontextmanager
async def connected(settings: Settings, start: str) -> AsyncIterator[Bare]:
    """Yield a client of the stack's cluster."""
    configuration = client.Configuration()
    await config.load_kube_config(
        str(settings.cluster_config), settings.context, configuration, persist_config=False
    )
    async with client.ApiClient(configuration) as api:
        yield Bare(client.CoreV1Api(api), settings, start)


async def store(settings: Settings, start: str, program: str, cpus: Sequence[int] = ()) -> None:
    """Store a program for the CPUs of a start run, and load these."""
    async with connected(settings, start) as bare:
        await bare.store(program)
        await asyncio.gather(*(bare.load(cpu) for cpu in cpus))


async def result_times(
    settings: Settings, program: str, cpus: Sequence[int], seconds: float, cycles: int
) -> list[list[float]]:
    """Return, for each CPU, when it began and then when each of its results was known.

    All CPUs run at the same time, for so many seconds and cycles at least.
    """
    async with connected(settings, f"bare-{time.time_ns() % 10**9}") as bare:
        await bare.store(program)
        await asyncio.gather(*(bare.load(cpu) for cpu in cpus))
        deadline = time.monotonic() + seconds

        async def run(cpu: int) -> list[float]:
            times = [time.time()]
            while time.monotonic() < deadline or len(times) <= cycles:
                times.append(await bare.execute(cpu, len(times)))
            return times

        return list(await asyncio.gather(*(run(cpu) for cpu in cpus)))

"""The limit: a client that only creates a pod, watches it, reads its result and deletes it.

One watch serves all pods of a client, and no answer is decoded into models of the Kubernetes client: that
would be most of the client's CPU time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from kubernetes_asyncio import client, config

from airflow_pods import Manifest, manifest_of
from airflow_pods.pod import Pod
from airflow_pods.status import is_finished, termination_of
from scripts.local.settings import SECRET, Settings

POD_SECONDS = 120
"""How long a pod may run."""
PATIENCE_SECONDS = 300
"""How long a pod may take, with all that it waits for before it runs."""
WATCH_SECONDS = 600
"""How long one watch lasts before the next one begins."""
MAX_TRIES = 5


class PodFailed(Exception):
    """A pod has failed; the message says how."""


class Bare:
    """The CPUs of one start run; each command is a pod, and there is nothing else."""

    def __init__(self, api: Any, settings: Settings, start: str) -> None:
        self.api = api
        self.settings = settings
        self.start = start
        self._ends: dict[str, asyncio.Future[Pod]] = {}
        self._watch_error: Exception | None = None

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

    async def execute_again(self, pods: int, in_flight: int) -> None:
        """Have ``pods`` pods execute cycle 1 of CPU 0 again, at most ``in_flight`` of them at once.

        The pods stay until all have ended; then one request deletes them.
        """
        numbers = iter(range(pods))

        async def run_pods() -> None:
            for number in numbers:
                await self._pod(f"again-{number}", self.exec_arguments(0, 1), keep=True)

        await asyncio.gather(*(run_pods() for _ in range(in_flight)))

    async def delete_pods(self) -> None:
        """Delete all pods of this client."""
        await json_of(
            await self.api.delete_collection_namespaced_pod(
                self.settings.namespace, label_selector=self._selector, _preload_content=False
            )
        )

    def exec_arguments(self, cpu: int, cycle: int) -> list[str]:
        """Return the command that executes a cycle."""
        return ["exec", "--start", self.start, "--cpu", str(cpu), "--cycle", str(cycle)]

    def manifest(self, name: str, arguments: Sequence[str], app: str = "bare") -> Manifest:
        """Return a pod that runs a command as the pods of the DAGs do."""
        return manifest_of(
            f"bare-{self.start}-{name}",
            self.settings.namespace,
            self.settings.image,
            arguments,
            {"app": app, "start": self.start},
            {"RESULT_FILE": "/dev/termination-log"},
            {"REDIS_URL": (SECRET, "url")},
            POD_SECONDS,
        )

    async def watch(self) -> None:
        """Watch this client's pods, for those that wait for their ends."""
        try:
            while True:
                async with aclosing(changes(self.api, self.settings.namespace, self._selector)) as pods:
                    async for pod in pods:
                        end = self._ends.get(pod.metadata.name)
                        if end and not end.done() and is_finished(pod):
                            end.set_result(pod)
        except Exception as error:
            self._watch_error = error
            for end in self._ends.values():
                if not end.done():
                    end.set_exception(error)

    @property
    def _selector(self) -> str:
        return f"app=bare,start={self.start}"

    async def _pod(self, name: str, arguments: Sequence[str], *, keep: bool = False) -> dict[str, Any]:
        """Run a pod and return its result; if it fails, try again with another pod."""
        # As a DAG's task does: where a node starts many pods at once, one may not reach Redis in time.
        for attempt in range(MAX_TRIES):
            pod = await self._run(self.manifest(f"{name}-{attempt}", arguments), keep)
            end = termination_of(pod)
            if end and end.exit_code == 0:
                return dict(json.loads(end.message))
            await asyncio.sleep(attempt)
        why = (end.message if end else pod.status.message) or "it left no message"
        raise PodFailed(f"pod {pod.metadata.name} failed: {pod.status.phase}: {why}")

    async def _run(self, manifest: Manifest, keep: bool) -> Pod:
        """Create a pod and return it when it has finished; delete it unless it is to be kept."""
        name, namespace = manifest["metadata"]["name"], self.settings.namespace
        if self._watch_error:
            raise self._watch_error
        end: asyncio.Future[Pod] = asyncio.get_running_loop().create_future()
        self._ends[name] = end
        try:
            await json_of(await self.api.create_namespaced_pod(namespace, manifest, _preload_content=False))
            async with asyncio.timeout(PATIENCE_SECONDS):
                pod = await end
        except TimeoutError:
            raise PodFailed(f"pod {name} did not finish within {PATIENCE_SECONDS} s") from None
        finally:
            self._ends.pop(name, None)
        if not keep:
            await json_of(await self.api.delete_namespaced_pod(name, namespace, _preload_content=False))
        return pod


async def changes(api: Any, namespace: str, selector: str) -> AsyncGenerator[Pod, None]:
    """Yield the pods with these labels, those that exist and then each that changes, for WATCH_SECONDS.

    Close it with `aclosing`: it holds a connection.
    """
    response = await api.list_namespaced_pod(
        namespace,
        label_selector=selector,
        watch=True,
        timeout_seconds=WATCH_SECONDS,
        _request_timeout=WATCH_SECONDS + 30,
        _preload_content=False,
    )
    try:
        if response.status >= 300:
            await json_of(response)
        async for line in response.content:
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise client.ApiException(status=status.get("code"), reason=status.get("message"))
            yield Pod(event["object"])
    finally:
        response.close()


async def json_of(response: Any) -> Any:
    """Return what an answer holds. Raises ApiException if the API has refused the request."""
    text = await response.text()
    if response.status >= 300:
        raise client.ApiException(status=response.status, reason=f"{response.reason}: {text}")
    return json.loads(text)


@asynccontextmanager
async def connected(settings: Settings, start: str) -> AsyncIterator[Bare]:
    """Yield a client of the stack's cluster."""
    configuration = client.Configuration()
    await config.load_kube_config(
        str(settings.cluster_config), settings.context, configuration, persist_config=False
    )
    async with client.ApiClient(configuration) as api:
        bare = Bare(client.CoreV1Api(api), settings, start)
        watching = asyncio.create_task(bare.watch())
        try:
            yield bare
        finally:
            watching.cancel()
            await asyncio.wait([watching])


@asynccontextmanager
async def one_cycle_executed(settings: Settings, start: str, program: str) -> AsyncIterator[Bare]:
    """Yield a client whose CPU 0 has executed cycle 1, so that pods can execute that again."""
    async with connected(settings, start) as bare:
        await bare.store(program)
        await bare.load(0)
        await bare.execute(0, 1)
        yield bare


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

"""Runs the pods that appear in the store, and ends those that are to go."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

from scripts.kube import volumes
from scripts.kube.container import Container, until_stopping
from scripts.kube.discovery import NODE
from scripts.kube.environment import ConfigError
from scripts.kube.errors import log_failure
from scripts.kube.kinds import PODS, SECRETS
from scripts.kube.node import Node
from scripts.kube.objects import Json, Key, key_of
from scripts.kube.podstatus import FINAL, abandoned, status_of
from scripts.kube.processes import Processes
from scripts.kube.store import Change

_STOPPED = "The endpoint stopped while this pod was there: its processes ended with it"
_DEADLINE = "Pod was active on the node longer than the specified deadline"


class PodRun:
    """One pod from its first container to its last."""

    def __init__(self, node: Node, pod: Json) -> None:
        self.key: Key = key_of(pod)
        self.uid: str = pod["metadata"]["uid"]
        self.folder = node.folder / self.uid
        self.stopping = asyncio.Event()
        self._node = node
        self._last = pod
        self._verdict: Json = {}
        spec = pod["spec"]
        self._inits = [Container(node, self, each, init=True) for each in spec.get("initContainers") or []]
        self._mains = [Container(node, self, each, init=False) for each in spec["containers"]]
        if self._inits:
            for container in self._mains:
                container.state = {"waiting": {"reason": "PodInitializing"}}

    @property
    def pod(self) -> Json:
        """The pod's object as it is now, or as it last was."""
        found = self._node.store.get(PODS, self.key)
        if found is not None and found["metadata"]["uid"] == self.uid:
            self._last = found
        return self._last

    def container(self, name: str) -> Container | None:
        """The container of that name."""
        return next((each for each in (*self._inits, *self._mains) if each.name == name), None)

    async def run(self) -> None:
        """Runs the pod until all of it is over."""
        self._schedule()
        if await self._prepare_volumes() and await self._run_inits():
            await asyncio.gather(*(container.run() for container in self._mains))
        self.publish()

    def stop(self, grace: float) -> None:
        """Asks every container to end; kills what has not when `grace` seconds are over."""
        self.stopping.set()
        for container in (*self._inits, *self._mains):
            container.stop(grace)

    def kill(self) -> None:
        """Ends every container at once."""
        self.stopping.set()
        for container in (*self._inits, *self._mains):
            container.kill(signal.SIGKILL)

    def fail(self, why: str) -> None:
        """Ends the pod as failed, whatever its containers say."""
        self._verdict = {"phase": "Failed", "reason": "EndpointError", "message": why}
        self.publish()

    def publish(self) -> None:
        """Writes the containers' states into the store, unless the pod is gone from it."""
        pod = self._node.store.get(PODS, self.key)
        if pod is not None and pod["metadata"]["uid"] == self.uid:
            status = status_of(pod, self._inits, self._mains, self._verdict)
            self._node.store.update(PODS, {**pod, "status": status})

    def _schedule(self) -> None:
        pod = self.pod
        spec = {**pod["spec"], "nodeName": NODE}
        status = status_of(pod, self._inits, self._mains, {})
        self._node.store.update(PODS, {**pod, "spec": spec, "status": status})
        self._node.recorder.scheduled(self.pod)
        if deadline := spec.get("activeDeadlineSeconds"):
            asyncio.get_running_loop().call_later(deadline, self._exceed_deadline)

    async def _prepare_volumes(self) -> bool:
        """Makes the volumes, waiting for missing secrets; false when the pod is stopped meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self.stopping.is_set():
            try:
                volumes.prepare(self.pod, self.folder / "volumes", self._node.store)
            except ConfigError as problem:
                self._node.recorder.warning(self.pod, "FailedMount", f"MountVolume.SetUp failed: {problem}")
            else:
                return True
            await until_stopping(self.stopping, self._node.store.next_change(SECRETS))
        return False

    async def _run_inits(self) -> bool:
        """Runs the init containers one after the other; whether all of them succeeded."""
        for container in self._inits:
            await container.run()
            if container.exit_code != 0:
                return False
        return not self.stopping.is_set()

    def _exceed_deadline(self) -> None:
        pod = self._node.store.get(PODS, self.key)
        if pod is None or pod["metadata"]["uid"] != self.uid or pod["status"]["phase"] in FINAL:
            return
        self._verdict = {"phase": "Failed", "reason": "DeadlineExceeded", "message": _DEADLINE}
        self._node.recorder.normal(pod, "DeadlineExceeded", _DEADLINE)
        self.publish()
        self.stop(pod["spec"]["terminationGracePeriodSeconds"])


class Kubelet:
    """Follows the store's pods."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Puts in order what an earlier endpoint left, then runs every pod that comes."""
        for pod in self._node.store.list(PODS):
            if pod["metadata"].get("deletionTimestamp"):
                self._node.store.delete(PODS, key_of(pod))
            elif pod["status"]["phase"] not in FINAL:
                self._node.store.update(PODS, {**pod, "status": abandoned(pod, _STOPPED)})
        known = {pod["metadata"]["uid"] for pod in self._node.store.list(PODS)}
        for folder in self._node.folder.iterdir():
            if folder.name not in known:
                _remove(folder)
        self._node.store.subscribe(PODS, self._follow)

    @property
    def processes(self) -> Processes:
        """What starts processes here."""
        return self._node.processes

    def container(self, pod: Json, name: str) -> Container | None:
        """The container as it runs, None once its pod's run is over."""
        run = self._runs.get(pod["metadata"]["uid"])
        return run.container(name) if run else None

    def log_file(self, pod: Json, name: str, run: int) -> Path:
        """Where the log of a container's nth run is."""
        return self._node.folder / str(pod["metadata"]["uid"]) / "containers" / name / f"{run}.log"

    async def stop(self) -> None:
        """Leaves the pods as they are: the next start tells what became of them."""
        self._node.store.unsubscribe(PODS, self._follow)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _follow(self, change: Change) -> None:
        pod = change.new
        uid = pod["metadata"]["uid"]
        if change.type == "ADDED":
            run = self._runs[uid] = PodRun(self._node, pod)
            self._tasks[uid] = asyncio.get_running_loop().create_task(self._see_through(run))
        elif change.type == "DELETED":
            self._forget(uid)
        elif change.old and _deletion(pod) != _deletion(change.old) and uid in self._runs:
            self._runs[uid].stop(pod["metadata"]["deletionGracePeriodSeconds"])

    def _forget(self, uid: str) -> None:
        if run := self._runs.get(uid):
            run.kill()  # its folder goes when its processes have
        else:
            _remove(self._node.folder / uid)

    async def _see_through(self, run: PodRun) -> None:
        try:
            await run.run()
        except Exception as problem:  # a full disk, say: the pod fails, the endpoint goes on
            log_failure(f"pod {'/'.join(run.key)}", problem)
            run.kill()
            why = f": {problem}" if isinstance(problem, OSError) else " in the endpoint: its log says where"
            run.fail(type(problem).__name__ + why)
        del self._runs[run.uid], self._tasks[run.uid]
        pod = self._node.store.get(PODS, run.key)
        if pod is None or pod["metadata"]["uid"] != run.uid:
            _remove(run.folder)
        elif pod["metadata"].get("deletionTimestamp"):
            self._node.store.delete(PODS, run.key)


def _remove(folder: Path) -> None:
    """Removes a pod's folder; one that cannot be removed is left."""
    shutil.rmtree(folder, ignore_errors=True)


def _deletion(pod: Json) -> tuple[str | None, int | None]:
    metadata = pod["metadata"]
    return metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")

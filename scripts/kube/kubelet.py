"""The kubelet: runs the pods that appear in the store, and ends those that are deleted."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from scripts.kube.container import Container, Node, until_stopping
from scripts.kube.environment import ConfigError, prepare_volumes
from scripts.kube.errors import log_failure
from scripts.kube.kinds import NODE, PODS, SECRETS
from scripts.kube.logs import Log
from scripts.kube.objects import Json, Key, key_of
from scripts.kube.pods import FINAL, abandoned, status_of
from scripts.kube.store import Change

_STOPPED = "The endpoint stopped while this pod was running, and its processes ended with it"
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
    def stored(self) -> Json | None:
        """The pod's object in the store, None once it is deleted."""
        pod = self._node.store.get(PODS, self.key)
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    @property
    def pod(self) -> Json:
        """The pod's object as it is now, or as it was last."""
        self._last = self.stored or self._last
        return self._last

    def container(self, name: str) -> Container | None:
        """Return the container of that name."""
        return next((each for each in (*self._inits, *self._mains) if each.name == name), None)

    async def run(self) -> None:
        """Run the pod until all of its containers have ended."""
        self._schedule()
        if await self._prepare_volumes() and await self._run_inits():
            await asyncio.gather(*(container.run() for container in self._mains))
        self.publish()

    def stop(self, grace: float) -> None:
        """Ask every container to end; kill those that have not `grace` seconds later."""
        self.stopping.set()
        for container in (*self._inits, *self._mains):
            container.stop(grace)

    def kill(self) -> None:
        """End every container at once."""
        self.stopping.set()
        for container in (*self._inits, *self._mains):
            container.kill()

    def fail(self, reason: str, message: str) -> None:
        """Let the pod end as failed, whatever its containers' exit codes are."""
        self._verdict = {"phase": "Failed", "reason": reason, "message": message}
        self.publish()

    def publish(self) -> None:
        """Write the containers' states into the store, unless the pod is deleted."""
        if pod := self.stored:
            status = status_of(pod, self._inits, self._mains, self._verdict)
            self._node.store.update(PODS, {**pod, "status": status})

    def _schedule(self) -> None:
        pod = self.pod
        status = status_of(pod, self._inits, self._mains, {})
        spec = {**pod["spec"], "nodeName": NODE}
        self._node.store.update(PODS, {**pod, "spec": spec, "status": status})
        self._node.recorder.scheduled(self.pod)
        if deadline := spec.get("activeDeadlineSeconds"):
            asyncio.get_running_loop().call_later(deadline, self._exceed_deadline)

    async def _prepare_volumes(self) -> bool:
        """Create the volumes, waiting for missing Secrets; return False when the pod is stopped meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self.stopping.is_set():
            try:
                prepare_volumes(self.pod, self.folder / "volumes", self._node.store)
            except ConfigError as problem:
                self._node.recorder.warning(self.pod, "FailedMount", f"MountVolume.SetUp failed: {problem}")
            else:
                return True
            await until_stopping(self.stopping, self._node.store.next_change(SECRETS))
        return False

    async def _run_inits(self) -> bool:
        """Run the init containers one after the other; return whether all of them succeeded."""
        for container in self._inits:
            await container.run()
            if container.exit_code != 0:
                return False
        return not self.stopping.is_set()

    def _exceed_deadline(self) -> None:
        pod = self.stored
        if pod and pod["status"]["phase"] not in FINAL:
            self._node.recorder.normal(pod, "DeadlineExceeded", _DEADLINE)
            self.fail("DeadlineExceeded", _DEADLINE)
            self.stop(pod["spec"]["terminationGracePeriodSeconds"])


class Kubelet:
    """Follows the store's pods and runs them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Mark as failed what an earlier endpoint left unfinished, then run every new pod."""
        store, known = self.node.store, set[str]()
        for pod in store.list(PODS):
            if pod["metadata"].get("deletionTimestamp"):
                store.delete(PODS, key_of(pod))
                continue
            known.add(pod["metadata"]["uid"])
            if pod["status"]["phase"] not in FINAL:
                store.update(PODS, {**pod, "status": abandoned(pod, _STOPPED)})
        for folder in self.node.folder.iterdir():
            if folder.name not in known:
                _remove(folder)
        store.subscribe(PODS, self._follow)

    def container(self, pod: Json, name: str) -> Container | None:
        """Return the container while its pod is running, else None."""
        run = self._runs.get(pod["metadata"]["uid"])
        return run.container(name) if run else None

    def log(self, pod: Json, name: str, run: int) -> tuple[Path, Log | None]:
        """Return the file of the log of a container's nth run, and the log itself while it is written."""
        file = self.node.folder / str(pod["metadata"]["uid"]) / "containers" / name / f"{run}.log"
        container = self.container(pod, name)
        log = container.log if container else None
        return file, log if log and log.file == file else None

    async def stop(self) -> None:
        """Stop following; the pods stay in the store, and the next start marks them as failed."""
        self.node.store.unsubscribe(PODS, self._follow)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _follow(self, change: Change) -> None:
        pod = change.new
        uid = pod["metadata"]["uid"]
        run = self._runs.get(uid)
        if change.type == "ADDED":
            run = self._runs[uid] = PodRun(self.node, pod)
            self._tasks[uid] = asyncio.get_running_loop().create_task(self._run(run))
        elif change.type == "DELETED" and run:
            run.kill()  # `_run` removes the folder when the processes have ended
        elif change.type == "DELETED":
            _remove(self.node.folder / uid)
        elif run and change.old and _deletion(pod) != _deletion(change.old):
            run.stop(pod["metadata"]["deletionGracePeriodSeconds"])

    async def _run(self, run: PodRun) -> None:
        try:
            await run.run()
        except Exception as problem:  # a full disk, for example: the pod fails, the endpoint continues
            log_failure(f"pod {'/'.join(run.key)}", problem)
            run.kill()
            why = f": {problem}" if isinstance(problem, OSError) else " in the endpoint: see its log"
            run.fail("EndpointError", type(problem).__name__ + why)
        del self._runs[run.uid], self._tasks[run.uid]
        pod = run.stored
        if pod is None:
            _remove(run.folder)
        elif pod["metadata"].get("deletionTimestamp"):
            self.node.store.delete(PODS, run.key)


def _remove(folder: Path) -> None:
    """Remove a pod's folder; ignore what cannot be removed."""
    shutil.rmtree(folder, ignore_errors=True)


def _deletion(pod: Json) -> tuple[str | None, int | None]:
    metadata = pod["metadata"]
    return metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")

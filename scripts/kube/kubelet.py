"""The kubelet: runs the pods that appear in the store, and ends those that are deleted."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.kube.container import Container, Node
from scripts.kube.logs import Log, log_file
from scripts.kube.objects import PODS, Json, key_of, now
from scripts.kube.pods import FINAL, PodRun
from scripts.kube.requests import log_failure
from scripts.kube.store import Change

_STOPPED = "The endpoint stopped while this pod was running, and its processes ended with it"


class Kubelet:
    """Follows the store's pods and runs them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._remover = ThreadPoolExecutor(1, "remover")

    def start(self) -> None:
        """Mark as failed what an earlier endpoint left unfinished, then run every new pod."""
        store, known = self.node.store, set[str]()
        for pod in store.list(PODS):
            if pod["metadata"].get("deletionTimestamp"):
                store.delete(PODS, key_of(pod))
                continue
            known.add(pod["metadata"]["uid"])
            if pod["status"]["phase"] not in FINAL:
                store.update(PODS, {**pod, "status": _abandoned(pod["status"])})
        for folder in self.node.folder.iterdir():
            if folder.name not in known:
                self._remove(folder)
        store.subscribe(PODS, self._follow)

    def container(self, pod: Json, name: str) -> Container | None:
        """Return the container while its pod is running, else None."""
        run = self._runs.get(pod["metadata"]["uid"])
        return run.containers.get(name) if run else None

    def log(self, pod: Json, name: str, run: int) -> tuple[Path, Log | None]:
        """Return the file of the log of a container's nth run, and the log itself while it is written."""
        file = log_file(self.node.folder / pod["metadata"]["uid"], name, run)
        container = self.container(pod, name)
        log = container.log if container else None
        return file, log if log and log.file == file else None

    async def stop(self) -> None:
        """Stop following; the pods stay in the store, and the next start marks them as failed."""
        self.node.store.unsubscribe(PODS, self._follow)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        # The next start removes what is left.
        self._remover.shutdown(cancel_futures=True)

    def _follow(self, change: Change) -> None:
        pod = change.new
        uid = pod["metadata"]["uid"]
        run = self._runs.get(uid)
        if change.type == "ADDED":
            run = self._runs[uid] = PodRun(self.node, pod)
            self._tasks[uid] = asyncio.get_running_loop().create_task(self._run(run))
        elif change.type == "DELETED" and run:
            run.stop(0)  # `_run` removes the folder when the processes have ended
        elif change.type == "DELETED":
            self._remove(self.node.folder / uid)
        elif run and change.old:
            grace, before = (each["metadata"].get("deletionGracePeriodSeconds") for each in (pod, change.old))
            if grace != before:
                run.stop(grace)

    def _remove(self, folder: Path) -> None:
        """Remove the files of a deleted pod in a thread: the disk may be slow, and the pods thousands."""
        self._remover.submit(shutil.rmtree, folder, ignore_errors=True)

    async def _run(self, run: PodRun) -> None:
        try:
            await run.run()
        except Exception as problem:  # a full disk, for example: the pod fails, the endpoint continues
            log_failure(f"pod {'/'.join(run.key)}", problem)
            run.stop(0)
            why = f": {problem}" if isinstance(problem, OSError) else " in the endpoint: see its log"
            run.fail("EndpointError", type(problem).__name__ + why)
        del self._runs[run.uid], self._tasks[run.uid]
        pod = run.stored
        if pod is None:
            self._remove(run.folder)
        elif pod["metadata"].get("deletionTimestamp"):
            self.node.store.delete(PODS, run.key)


def _abandoned(status: Json) -> Json:
    """Return the status of a pod whose processes ended with the endpoint that ran them."""
    failed = {**status, "phase": "Failed", "reason": "EndpointStopped", "message": _STOPPED}
    end = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": _STOPPED, "finishedAt": now()}
    for group in failed.keys() & {"containerStatuses", "initContainerStatuses"}:
        failed[group] = [
            {**each, "state": {"terminated": each["state"].get("terminated", end)}, "ready": False}
            for each in failed[group]
        ]
    return failed

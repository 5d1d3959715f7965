"""One pod: its containers from the first to the last, and its status."""

from __future__ import annotations

import asyncio

from scripts.kube.container import Container, Node, until_stopping
from scripts.kube.environment import ConfigError, prepare_volumes
from scripts.kube.identity import ADDRESS
from scripts.kube.objects import NODE, PODS, SECRETS, Json, Key, key_of, now

FINAL = ("Succeeded", "Failed")
"""The phases of a pod that has ended."""
_DEADLINE = "Pod was active on the node longer than the specified deadline"


class PodRun:
    """One pod from its first container to its last; `stopping` is set once none may start any more."""

    def __init__(self, node: Node, pod: Json) -> None:
        spec = {**pod["spec"], "nodeName": NODE}
        status = {"startTime": now(), "hostIP": ADDRESS, "podIP": ADDRESS, **pod["status"]}
        self.pod = {**pod, "spec": spec, "status": status}
        """The pod when this node took it; later changes of its labels and its status are not in it."""
        self.key: Key = key_of(pod)
        self.uid: str = pod["metadata"]["uid"]
        self.folder = node.folder / self.uid
        self.stopping = asyncio.Event()
        self._node = node
        self._failure: Json = {}
        self._inits = [Container(node, self, each, init=True) for each in spec.get("initContainers") or []]
        self._mains = [Container(node, self, each, init=False) for each in spec["containers"]]
        self.containers = {each.name: each for each in (*self._inits, *self._mains)}
        for container in self._mains if self._inits else ():
            container.state = {"waiting": {"reason": "PodInitializing"}}

    @property
    def stored(self) -> Json | None:
        """The pod's object in the store, None once it is deleted."""
        pod = self._node.store.get(PODS, self.key)
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    async def run(self) -> None:
        """Run the pod until all of its containers have ended."""
        self.publish()
        self._node.recorder.scheduled(self.pod)
        if deadline := self.pod["spec"].get("activeDeadlineSeconds"):
            asyncio.get_running_loop().call_later(deadline, self._exceed_deadline)
        await self._prepare_volumes()
        if await self._run_inits():
            await asyncio.gather(*(container.run() for container in self._mains))
        self.publish()

    def stop(self, grace: float) -> None:
        """Ask every container to end; kill it `grace` seconds later, at once if that is 0."""
        self.stopping.set()
        for container in self.containers.values():
            container.stop(grace)

    def fail(self, reason: str, message: str) -> None:
        """Let the pod end as failed, whatever its containers' exit codes are."""
        self._failure = {"phase": "Failed", "reason": reason, "message": message}
        self.publish()

    def publish(self) -> None:
        """Write the containers' states into the store, unless the pod is deleted."""
        if stored := self.stored:
            pod = {**stored, "spec": self.pod["spec"], "status": self._status(stored["status"])}
            self._node.store.update(PODS, pod)

    async def _prepare_volumes(self) -> None:
        """Create the volumes, after waiting for missing Secrets, unless the pod is stopped meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self.stopping.is_set():
            try:
                prepare_volumes(self.pod, self.folder / "volumes", self._node.store)
                break
            except ConfigError as problem:
                self._node.recorder.warning(self.pod, "FailedMount", f"MountVolume.SetUp failed: {problem}")
            await until_stopping(self.stopping, self._node.store.next_change(SECRETS))

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

    def _status(self, old: Json) -> Json:
        phase = self._failure.get("phase") or self._phase()
        status = {
            **self.pod["status"],
            "phase": phase,
            "conditions": self._conditions(old.get("conditions", []), phase),
            # A kubelet sorts these by name, and leaves init containers in their order.
            "containerStatuses": [each.status for each in sorted(self._mains, key=lambda each: each.name)],
            **self._failure,
        }
        if self._inits:
            status["initContainerStatuses"] = [each.status for each in self._inits]
        return status

    def _phase(self) -> str:
        policy = self.pod["spec"]["restartPolicy"]
        for container in self._inits:
            if container.exit_code != 0:
                return "Failed" if container.exit_code is not None and policy == "Never" else "Pending"
        if any("waiting" in container.state and not container.last_state for container in self._mains):
            return "Pending"
        codes = [container.exit_code for container in self._mains]
        if policy == "Always" or None in codes:
            return "Running"
        if not any(codes):
            return "Succeeded"
        return "Failed" if policy == "Never" else "Running"

    def _conditions(self, old: list[Json], phase: str) -> list[Json]:
        succeeded = phase == "Succeeded"
        initialized = all(container.exit_code == 0 for container in self._inits)
        ready = not succeeded and all("running" in container.state for container in self._mains)
        not_ready = "PodCompleted" if succeeded else "ContainersNotReady"
        since = {(each["type"], each["status"]): each["lastTransitionTime"] for each in old}
        conditions = []
        for type_, holds, reason in (
            ("Initialized", initialized, "ContainersNotInitialized"),
            ("Ready", ready, not_ready),
            ("ContainersReady", ready, not_ready),
            ("PodScheduled", True, ""),
        ):
            condition = {"type": type_, "status": str(holds)}
            condition["lastTransitionTime"] = since.get((type_, str(holds))) or now()
            conditions.append(condition if holds else {**condition, "reason": reason})
        return conditions

"""The pods of a set that have not ended, what keeps some of them from starting, and for how long. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_pods.errors import NO_NODE, WaitingReason
from airflow_pods.pod import Pod
from airflow_pods.status import waiting_reason_of


@dataclass
class FlyingPod:
    """A pod that has not ended."""

    name: str
    uid: str
    index: int
    attempt: int
    started: float
    """Since when nothing has kept it from running."""


@dataclass
class Wait:
    """What keeps a pod from starting, since when, and the pod when that began."""

    reason: WaitingReason
    since: float
    pod: Pod


class InFlight:
    """The pods in flight by name. All times are seconds of one clock.

    ``pod_seconds`` is how long a pod may take from its start.
    """

    def __init__(self, pod_seconds: float) -> None:
        self._pod_seconds = pod_seconds
        self._pods: dict[str, FlyingPod] = {}
        self._waits: dict[str, Wait] = {}
        self._no_node: set[str] = set()
        self._has_started = False  # any pod
        self._next_overdue = math.inf  # no pod is overdue before that

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[FlyingPod]:
        return iter(self._pods.values())

    def find(self, name: str, uid: str) -> FlyingPod | None:
        """Return the pod in flight that has this name and this uid."""
        pod = self._pods.get(name)
        return pod if pod is not None and pod.uid == uid else None

    def is_waiting(self, pod: FlyingPod) -> bool:
        """Return whether something keeps a pod from starting."""
        return pod.name in self._waits

    def add(self, pod: Pod, index: int, attempt: int, now: float) -> None:
        """Add a pod that was created or found."""
        name = pod.metadata.name
        self._pods[name] = FlyingPod(name, pod.metadata.uid, index, attempt, now)
        self._next_overdue = min(self._next_overdue, now + self._pod_seconds)

    def remove(self, pod: FlyingPod) -> None:
        """Remove a pod that has ended or is gone."""
        del self._pods[pod.name]
        self._drop_wait(pod.name)

    def note_start(self) -> None:
        """Note that a pod of the set has started, so that others can start as well."""
        self._has_started = True

    def note_state(self, known: FlyingPod, pod: Pod, now: float) -> bool:
        """Note what keeps a pod from starting; return whether it no longer waits."""
        reason, wait = waiting_reason_of(pod), self._waits.get(known.name)
        if reason is None:
            self._has_started |= pod.status.phase != "Pending"
            if wait:
                known.started = now
                self._drop_wait(known.name)
            return wait is not None
        if wait is None or wait.reason != reason:
            self._drop_wait(known.name)
            self._waits[known.name] = Wait(reason, now, pod)
            if reason is NO_NODE:
                self._no_node.add(known.name)
        return False

    @property
    def is_held(self) -> bool:
        """Whether more pods would only wait: for a node, or for what keeps the first ones from starting."""
        return bool(self._no_node) or (bool(self._waits) and not self._has_started)

    def longest_wait(self, progress_at: float) -> tuple[float, Wait] | None:
        """Return until when the last of the pods may wait, and its wait; None unless all pods wait.

        While one runs, its end makes room. The limits count from the last progress of the set.
        """
        if not self._waits or len(self._waits) < len(self._pods):
            return None
        limits = ((max(each.since, progress_at) + each.reason.seconds, each) for each in self._waits.values())
        return max(limits, key=lambda limit: limit[0])

    def take_overdue(self, now: float) -> list[FlyingPod]:
        """Return the pods that should have ended by now, as those on a node that is lost."""
        if now < self._next_overdue:
            return []
        starts = {pod.name: pod.started for pod in self if not self.is_waiting(pod)}
        overdue = [self._pods[name] for name, started in starts.items() if now >= started + self._pod_seconds]
        # A pod that waits now starts later, and so is not overdue before the next look.
        rest = [started for started in starts.values() if now < started + self._pod_seconds]
        self._next_overdue = min(rest, default=now) + self._pod_seconds
        return overdue

    @property
    def next_overdue(self) -> float:
        """The time before which no pod is overdue."""
        return self._next_overdue

    def _drop_wait(self, name: str) -> None:
        self._waits.pop(name, None)
        self._no_node.discard(name)

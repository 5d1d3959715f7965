"""Run a set of pods: a window of them in flight, one watch, and the pods themselves as the ledger."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from airflow_pods import client as client_module
from airflow_pods.client import Client
from airflow_pods.errors import (
    PodFailed,
    PodRefused,
    api_error,
    is_full_quota,
    is_temporary,
    retry_after,
)
from airflow_pods.in_flight import FlyingPod, InFlight
from airflow_pods.index_ledger import IndexLedger
from airflow_pods.informer import Informer
from airflow_pods.manifest import Manifest
from airflow_pods.pace import Pace
from airflow_pods.pod import Pod
from airflow_pods.pod_set import SET, IndexedPods, place_of, pod_manifest, pod_name, set_selector
from airflow_pods.printable import describe, printable
from airflow_pods.progress import OnProgress, Progress, Reports
from airflow_pods.requests import create_pod_once, delete_pod_named, list_pods, read_pod
from airflow_pods.result import Result
from airflow_pods.runner import GRACE_SECONDS, log_kept
from airflow_pods.status import describe_waiting, is_finished, result_of, title

LOG = logging.getLogger(__name__)

DELETIONS_AT_ONCE = 8
CAUSE_CHARACTERS = 800
"""How much of the first failure an error shows."""


@dataclass(frozen=True)
class _Failed:
    """A pod of an earlier try that has failed."""

    name: str
    uid: str
    attempt: int
    is_refused: bool
    """Another attempt would fail as well."""


@dataclass(frozen=True)
class _Leaving:
    """A pod that is being deleted."""

    uid: str
    index: int


class SetRun:
    """One try to run a set of pods; `run` takes over what earlier tries have left.

    The informer calls `pod_changed`, `changes_missed` and `watch_failed`. These and the tasks that create
    pods change the state and wake `run`, which alone decides what to do next.
    """

    def __init__(
        self,
        client: Client,
        manifest: Manifest,
        pods: IndexedPods,
        informer: Informer,
        on_progress: OnProgress | None,
    ) -> None:
        self.ledger = IndexLedger(pods.count)
        self.total: Any = None
        self._client = client
        self._manifest = manifest
        self._name, self._namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        self._pods = pods
        self._informer = informer
        self._reports = Reports(on_progress)
        self._now = asyncio.get_running_loop().time
        self._woken = asyncio.Event()
        self._error: Exception | None = None  # what ends this try
        self._tasks: set[asyncio.Task[None]] = set()

        self._creating: dict[str, tuple[str, Pod] | None] = {}  # name: the last event of a pod of that name
        self._in_flight = InFlight(self._pod_seconds)
        self._leaving: dict[str, _Leaving] = {}  # their indices wait until they are gone
        self._attempts: dict[int, int] = {}  # the number of the next attempt, unless 0
        self._events: list[tuple[str, Pod]] | None = []  # those during a list; None at other times
        self._must_list, self._has_listed = True, False
        self._deletions = asyncio.Semaphore(DELETIONS_AT_ONCE)

        self._pace = Pace()
        self._created = 0
        self._progress_at = self._now()
        self._refused_since: float | None = None  # creations, without any progress
        self._first_failure = self._last_failure = self._refusal = ""

    async def run(self) -> None:
        """Run the pods until each index has succeeded or failed.

        Raises PodFailed or PodRefused once the set cannot succeed any more; then the pods in flight are
        deleted, and those that have ended are kept.
        """
        try:
            with self._informer.listening(self._name, self):
                try:
                    await self._run()
                except (PodFailed, PodRefused):
                    self._report(at_once=True)
                    await self._delete_in_flight()
                    raise
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if self._must_list:
                await self._list()
            if self._error:
                raise self._error
            if self.ledger.failed > self._pods.max_failed:
                raise self._too_many_failures()
            if not self.ledger.remaining:
                break
            wake_at = min(self._create_more(), self._check_limits(), self._report())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(wake_at if wake_at < math.inf else None):
                    await self._woken.wait()
        self._report(at_once=True)

    # ---------------------------------------------------------------------------------------- the pods there

    async def _list(self) -> None:
        """Take over the pods that exist, or after missed changes learn what has become of them."""
        self._must_list = False
        self._events = []
        before = {pod.uid: pod.name for pod in self._in_flight}
        before |= {pod.uid: name for name, pod in self._leaving.items()}
        failed: dict[int, list[_Failed]] = {}
        version = ""
        pages = list_pods(self._client, self._namespace, set_selector(self._manifest))
        async with aclosing(pages):
            async for listed_at, pods in pages:
                version = version or listed_at
                for pod in pods:
                    before.pop(pod.metadata.uid, None)
                    if self._has_listed:
                        self._see("MODIFIED", pod)
                    else:
                        self._take_over(pod, failed)
        self._has_listed = True
        self._begin_anew(failed)
        for uid, name in before.items():
            self._forget(name, uid)
        events, self._events = self._events, None
        for event in events:
            self._see(*event)
        self._informer.watch_set(version)

    def _take_over(self, pod: Pod, failed: dict[int, list[_Failed]]) -> None:
        """Note a pod of an earlier try; add it to the failed ones of its index if it has failed."""
        index, attempt = place_of(pod)
        if not 0 <= index < self._pods.count or self.ledger.is_ended(index):
            return
        name, uid = pod.metadata.name, pod.metadata.uid
        if not is_finished(pod):
            self.ledger.take(index)
            self._add(pod, index, attempt)
            return
        try:
            result = result_of(pod, self._pods.result)
        except (PodFailed, PodRefused) as error:
            failed.setdefault(index, []).append(_Failed(name, uid, attempt, isinstance(error, PodRefused)))
        else:
            self._succeed(index, name, result)

    def _begin_anew(self, failed: dict[int, list[_Failed]]) -> None:
        """Give an index of which pods have failed its next attempt; its first one, if there is no next.

        Then all attempts were used up by an earlier try, and whoever cleared the task wants to know again.
        """
        for index, pods in failed.items():
            if not self.ledger.is_new(index):
                continue
            self.ledger.take(index)
            last = max(pod.attempt for pod in pods)
            if last < self._pods.retries_per_pod and not any(pod.is_refused for pod in pods):
                self._attempts[index] = last + 1
                self.ledger.give_back(index)
                continue
            for pod in pods:
                self._leaving[pod.name] = _Leaving(pod.uid, index)
                self._spawn(self._replace(pod.name, pod.uid))

    async def _replace(self, name: str, uid: str) -> None:
        """Delete a failed pod of an earlier try."""
        from kubernetes_asyncio.client import ApiException

        async with self._deletions:
            try:
                await delete_pod_named(self._client, name, self._namespace, uid, gracePeriodSeconds=0)
            except ApiException as error:
                raise api_error(self._manifest, error, action="to delete the failed") from error

    # ------------------------------------------------------------------------- called by the informer's watch

    def pod_changed(self, kind: str, pod: Pod) -> None:
        """Take an event of the watch."""
        if self._events is not None:
            self._events.append((kind, pod))
        else:
            self._see(kind, pod)

    def changes_missed(self) -> None:
        """List the pods again."""
        self._must_list = True
        self._woken.set()

    def watch_failed(self, error: Exception) -> None:
        """End this try."""
        self._fail_with(error)

    # ----------------------------------------------------------------------------------- what becomes of pods

    def _see(self, kind: str, pod: Pod) -> None:
        """Take a newer or older state of a pod. States of unknown pods are no concern of this try."""
        name, uid = pod.metadata.name, pod.metadata.uid
        if name in self._creating:
            self._creating[name] = kind, pod  # it may be the one that is being created
        elif known := self._in_flight.find(name, uid):
            if is_finished(pod):
                self._end(known, pod)
            elif kind == "DELETED":
                self._forget(name, uid)
            elif self._in_flight.note_state(known, pod, self._now()):
                self._progressed()
            else:
                self._woken.set()  # it may wait, and so for a limited time
        elif kind == "DELETED":
            self._forget(name, uid)

    def _add(self, pod: Pod, index: int, attempt: int) -> None:
        """Note a pod that was created or found."""
        name, uid = pod.metadata.name, pod.metadata.uid
        if pod.metadata.deletion_timestamp is not None and not is_finished(pod):
            # What an earlier try gave up is no failure of its own: the same attempt is made again.
            self._attempts[index] = attempt
            self._leaving[name] = _Leaving(uid, index)
            return
        self._in_flight.add(pod, index, attempt, self._now())
        self._see("MODIFIED", pod)

    def _forget(self, name: str, uid: str) -> None:
        """Note that a pod is gone; one that was in flight has failed."""
        if known := self._in_flight.find(name, uid):
            what = f"pod {name} in namespace {self._namespace}"
            self._fail_attempt(known, PodFailed(f"{what} was deleted before it ended"))
        elif name in self._leaving and self._leaving[name].uid == uid:
            index = self._leaving.pop(name).index
            if not any(other.index == index for other in self._leaving.values()):
                self.ledger.give_back(index)
            self._progressed()

    def _end(self, known: FlyingPod, pod: Pod) -> None:
        """Take the outcome of a pod that has ended."""
        try:
            result = result_of(pod, self._pods.result)
        except (PodFailed, PodRefused) as error:
            self._fail_attempt(known, error)
            return
        self._in_flight.remove(known)
        self._in_flight.note_start()
        self._succeed(known.index, known.name, result)

    def _succeed(self, index: int, name: str, result: Result | None) -> None:
        """Add the result of an index to the total."""
        self._progressed()
        if self.ledger.is_ended(index):
            return
        self.ledger.succeed(index)
        self._attempts.pop(index, None)
        if self._pods.reduce is None or result is None:
            return
        try:
            self.total = self._pods.reduce(self.total, result)
        except Exception as error:
            self._fail_with(
                PodRefused(
                    f"reduce failed on the result of pod {name}: {describe(error)} (correct it and clear the "
                    "task: the pods that succeeded are kept)"
                )
            )

    def _fail_attempt(self, pod: FlyingPod, error: PodFailed | PodRefused) -> None:
        """Let another pod take the place of one that has failed, or the index fail."""
        self._in_flight.remove(pod)
        self._progressed()
        self._last_failure = str(error)
        index = pod.index
        if self.ledger.is_ended(index) or any(other.index == index for other in self._in_flight):
            return
        if isinstance(error, PodFailed) and pod.attempt < self._pods.retries_per_pod:
            self._attempts[index] = pod.attempt + 1
            self.ledger.give_back(index)
            return
        self._attempts.pop(index, None)
        self._first_failure = self._first_failure or str(error)
        self.ledger.fail(index)

    def _progressed(self) -> None:
        self._progress_at = self._now()
        self._refused_since = None
        self._woken.set()

    # --------------------------------------------------------------------------------------------- creations

    def _create_more(self) -> float:
        """Create as many pods as may be created now; return when to look again."""
        while True:
            in_flight = len(self._in_flight) + len(self._creating)
            if in_flight >= self._pods.parallelism or self._in_flight.is_held:
                return math.inf
            at = self._pace.next_time(len(self._creating), in_flight)
            if at > self._now():
                return at
            index = self.ledger.take_next()
            if index is None:
                return math.inf
            attempt = self._attempts.get(index, 0)
            name = pod_name(self._name, index, attempt)
            self._creating[name] = None
            self._spawn(self._create(name, index, attempt))

    async def _create(self, name: str, index: int, attempt: int) -> None:
        """Create a pod; one of that name that exists is taken over."""
        begun = self._now()
        manifest = pod_manifest(self._manifest, self._pods.count, index, attempt)
        try:
            created = await create_pod_once(self._client, manifest)
            pod = created or await read_pod(self._client, name, self._namespace)
        except Exception as error:
            del self._creating[name]
            self._creation_failed(manifest, index, error, begun)
            return
        event = self._creating.pop(name)
        self._created += created is not None
        self._refusal = ""
        self._pace.accepted(len(self._in_flight) + len(self._creating))
        self._progressed()
        if pod is None:  # deleted between the two requests
            self.ledger.give_back(index)
            return
        if (pod.metadata.labels or {}).get(SET) != self._name:
            raise PodRefused(f"{title(pod)} exists, and is not of this set (delete it, or rename the set)")
        self._add(pod, index, attempt)
        if event:
            self._see(*event)

    def _creation_failed(self, manifest: Manifest, index: int, error: Exception, begun: float) -> None:
        """Slow down, or end this try if that cannot help."""
        from kubernetes_asyncio.client import ApiException

        self.ledger.give_back(index)
        self._woken.set()
        if not is_temporary(error):
            self._fail_with(error, manifest)
            return
        self._refusal = str(
            api_error(manifest, error) if isinstance(error, ApiException) else describe(error)
        )
        now = self._now()
        if self._refused_since is None:
            self._refused_since = begun
        in_flight = len(self._in_flight) + len(self._creating)
        if is_full_quota(error):
            self._pace.quota_is_full(begun, now, in_flight)
        else:
            self._pace.refused(begun, now, retry_after(error))
        if not in_flight and now - self._refused_since >= client_module.RETRY_SECONDS:
            self._fail_with(error, manifest)
        elif not isinstance(error, ApiException):
            LOG.info("Set %s: the API did not answer: %s", self._name, describe(error))

    # ------------------------------------------------------------------------------------------------- limits

    @property
    def _pod_seconds(self) -> float:
        """How long a pod may take from its start, and the set from one sign of progress to the next."""
        return float(self._manifest["spec"]["activeDeadlineSeconds"] + GRACE_SECONDS)

    def _check_limits(self) -> float:
        """End this try, or a pod, that has made no progress for too long; return when to look again."""
        now = self._now()
        for pod in self._in_flight.take_overdue(now):
            self._spawn(self._delete(pod, at_once=True))
            what = f"pod {pod.name} in namespace {self._namespace}"
            self._fail_attempt(pod, PodFailed(f"{what} did not end within {self._pod_seconds:g} s"))
        longest = None if self._creating else self._in_flight.longest_wait(self._progress_at)
        if longest:
            # Nothing runs, so nothing will make room, and nobody corrects the image.
            limit, wait = longest
            if now >= limit:
                raise PodRefused(
                    f"{title(wait.pod)} can't start: {describe_waiting(wait.pod)} ({wait.reason.remedy})"
                )
        else:
            limit = self._progress_at + self._pod_seconds
            if now >= limit:
                raise PodFailed(
                    f"set {self._name} in namespace {self._namespace} made no progress within "
                    f"{self._pod_seconds:g} s (kubectl describe pod says what a pod waits for)"
                )
        return min(limit, self._in_flight.next_overdue)

    def _too_many_failures(self) -> PodFailed:
        ledger = self.ledger
        cause = printable(self._first_failure, CAUSE_CHARACTERS)
        return PodFailed(
            f"{ledger.failed} of the {ledger.count} pods of set {self._name} in namespace {self._namespace} "
            f"failed, and {self._pods.max_failed} may: {ledger.failed_indices(500)}. The first one: {cause} "
            f"(correct the cause, then clear the task: it keeps the {ledger.succeeded} that succeeded)"
        )

    def _fail_with(self, error: Exception, manifest: Manifest | None = None) -> None:
        """Let `run` raise this error, if it is the first."""
        from kubernetes_asyncio.client import ApiException

        if isinstance(error, ApiException):
            error = api_error(manifest or self._manifest, error)
        self._error = self._error or error
        self._woken.set()

    # ----------------------------------------------------------------------------- tasks, deletions, progress

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; an error in it ends this try."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._take_outcome)

    def _take_outcome(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail_with(error)

    async def _delete_in_flight(self) -> None:
        """Delete the pods that have not ended, with those that are still being created."""
        while self._creating:
            await asyncio.wait(self._tasks)
        pods = list(self._in_flight)
        await asyncio.gather(*(self._delete(pod, self._in_flight.is_waiting(pod)) for pod in pods))

    async def _delete(self, pod: FlyingPod, at_once: bool) -> None:
        """Delete a pod that is no longer wanted; if that fails, log it and keep the pod."""
        grace = 0 if at_once else 1
        async with self._deletions:
            try:
                await delete_pod_named(
                    self._client, pod.name, self._namespace, pod.uid, gracePeriodSeconds=grace
                )
            except Exception as error:
                log_kept(pod.name, self._namespace, error)

    def _report(self, at_once: bool = False) -> float:
        """Report the progress if a report is due; return when the next one will be."""
        return self._reports.report(self._progress, self._now(), at_once)

    def _progress(self) -> Progress:
        ledger = self.ledger
        return Progress(
            count=ledger.count,
            created=self._created,
            running=len(self._in_flight),
            succeeded=ledger.succeeded,
            failed=ledger.failed,
            remaining=ledger.remaining,
            failed_indices=ledger.failed_indices(),
            last_failure=self._last_failure,
            refusal=self._refusal,
        )

"""PodExecutor: an Airflow executor for which the pod is the task, so that a task needs no worker.

Name it beside the default executor, `[core] executor = LocalExecutor,airflow_pods.executor.PodExecutor`. Then
`PodOperator` chooses it for each task that it can run. It creates the pod, watches all pods by one watch per
namespace, and ends the task in Airflow's database. What is not plain (a failed pod, a branch that is no plain
data, a next run that exists already) it hands over to the default executor, whose worker ends the task by the
pod's outcome. So an unexpected case costs time and changes nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow.executors.base_executor import BaseExecutor
from airflow.utils.state import TaskInstanceState

from airflow_pods import task_log
from airflow_pods.errors import PodFailed, PodRefused
from airflow_pods.informer import Informer
from airflow_pods.next_step import NextStep, call
from airflow_pods.next_tries import NextTries
from airflow_pods.printable import describe
from airflow_pods.result import log_lines
from airflow_pods.task_context import NeedsWorker
from airflow_pods.task_log import TaskLog
from airflow_pods.task_pods import delete_task_pods, task_result
from airflow_pods.task_rows import (
    Begun,
    NotOurs,
    beat,
    begin,
    end,
    hand_over,
    is_supported,
    load,
    pod_of,
    state_of,
    store_progress,
)
from airflow_pods.trigger import error_outcome

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecuteTask, ExecutorWorkload
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancekey import TaskInstanceKey

    from airflow_pods.progress import Progress
    from airflow_pods.trigger import Outcome

Answer = TypeVar("Answer")

HEARTBEAT_SECONDS = 5
"""How often tasks in progress store a heartbeat and how far their sets of pods are, and how soon they notice
that people have changed them."""
WAIT_SECONDS = 0.5
"""The longest time for which the scheduler waits for tasks to end before it looks for others to begin."""
DATABASE_SECONDS = 600
"""How long a change in Airflow's database is tried again while the database does not answer."""
STOP_SECONDS = 10
"""How long a scheduler that stops waits for the changes that are being committed."""


class PodExecutor(BaseExecutor):
    """Runs the pods of `PodOperator` tasks in one thread, and ends the tasks without a worker."""

    serve_logs = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._jobs: dict[TaskInstanceKey, _Job] = {}
        self._informers: dict[tuple[str, str], Informer] = {}
        # From the thread of the pods to the scheduler's: keys of tasks that have ended here, and an event.
        self._ended: deque[tuple[TaskInstanceKey, TaskInstanceState | None]] = deque()
        self._has_ended = threading.Event()
        self._synced = time.monotonic()  # when `sync` has ended last
        self._supported = True
        self._next_tries = NextTries(f"{PodExecutor.__module__}.{PodExecutor.__qualname__}")

    # ----------------------------------------------------------------- called by the scheduler, in its thread

    def start(self) -> None:
        """Start the thread of the pods."""
        self._supported = is_supported()
        if not self._supported:
            self.log.warning(
                "PodExecutor has not been tested with this version of Airflow, this XCom backend or this "
                "kind of database: it hands all its tasks over to the default executor"
            )
        self._database = ThreadPoolExecutor(1, thread_name_prefix="pod-executor-database")
        if self._supported:
            self._database.submit(load)
            self._database.submit(task_log.load)
            self._follow_workers(self._next_tries.load)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pod-executor", daemon=True)
        self._thread.start()
        self._beating = asyncio.run_coroutine_threadsafe(self._keep_beating(), self._loop)

    def _process_workloads(self, workload_items: Sequence[ExecutorWorkload]) -> None:
        """Begin these tasks."""
        for workload in workload_items:
            task = cast("ExecuteTask", workload)  # the only kind that `queue_workload` accepts
            del self.queued_tasks[task.key]
            self.running.add(task.key)
            self._loop.call_soon_threadsafe(self._begin, task)

    def sync(self) -> None:
        """Take the tasks that have ended; if some are in progress, wait first."""
        self._follow_workers(self._next_tries.take_back)
        if self.running:
            self._wait()
        while self._ended:
            key, state = self._ended.popleft()
            if state is None:
                self.running.discard(key)
                # The task needs nothing more. But without an event the scheduler would sleep before it looks
                # at what follows.
                self.event_buffer[key] = None, None
            else:
                self.change_state(key, state)
        self._synced = time.monotonic()

    def _wait(self) -> None:
        """Wait until an eighth of the tasks in progress have ended, WAIT_SECONDS at most; and in any case for
        half as long as the scheduler was busy since the last `sync`.

        Each loop of the scheduler has its cost, however little there is to do. If more tasks end before the
        next one, fewer loops begin as many new tasks.
        """
        began = time.monotonic()
        shortest = min((began - self._synced) / 2, WAIT_SECONDS)
        while (left := began + WAIT_SECONDS - time.monotonic()) > 0:
            self._has_ended.wait(left)
            self._has_ended.clear()
            if len(self._ended) >= max(1, len(self.running) // 8):
                break
        time.sleep(max(0.0, began + shortest - time.monotonic()))

    def _follow_workers(self, look: Callable[[], None]) -> None:
        """Load or check the list of tasks that were handed over."""
        try:
            look()
        except Exception:  # which would end the scheduler; without a look, workers keep these tasks
            self.log.exception("PodExecutor could not look for the next tries of tasks that it handed over")

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Take over the tasks of a scheduler that has died; their pods are found by their names.

        Tasks that people have cleared meanwhile are returned, to be reset.
        """
        from airflow.executors.workloads import ExecuteTask

        cleared = [ti for ti in tis if ti.state == TaskInstanceState.RESTARTING or not self._supported]
        for ti in tis:
            if ti not in cleared:
                # The caller holds a lock on the row and commits later: nobody sees the task queued before.
                ti.state = TaskInstanceState.QUEUED
                workload = ExecuteTask.make(ti, generator=self.jwt_generator)
                self.queued_tasks[workload.key] = workload
        return cleared

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """Forget a task that has been queued for too long."""
        self.queued_tasks.pop(ti.key, None)
        self.running.discard(ti.key)

    def end(self) -> None:
        """Stop; the pods go on, and the next scheduler adopts their tasks."""
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(STOP_SECONDS)
        except TimeoutError:
            self.log.warning(
                "PodExecutor has not stopped within %d s; the next scheduler goes on", STOP_SECONDS
            )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._database.shutdown(wait=False, cancel_futures=True)
        if not self._thread.is_alive():
            self._loop.close()

    def terminate(self) -> None:
        """Stop, as `end` does."""
        self.end()

    # ----------------------------------------------------------------------------- in the thread of the pods

    def _begin(self, workload: ExecuteTask) -> None:
        job = _Job(workload)
        self._jobs[workload.key] = job
        job.running = self._loop.create_task(self._run(job))

    async def _run(self, job: _Job) -> None:
        """Run a task until it has ended or a worker has it; report that to the scheduler's thread."""
        state = None
        try:
            try:
                await self._execute(job)
            except asyncio.CancelledError:
                if not job.is_lost:
                    raise
                state = await self._abandon(job)
            except NotOurs:
                state = await self._abandon(job)
        except Exception as error:
            # Nothing is lost: Airflow misses the heartbeats, and the next try finds the pod.
            self.log.exception("PodExecutor gives up task %s", job.workload.key)
            job.log.error(f"PodExecutor gives this task up: {describe(error)}")
        if self._jobs.get(job.workload.key) is job:
            del self._jobs[job.workload.key]
            self._ended.append((job.workload.key, state))
            self._has_ended.set()
        await job.log.upload()

    async def _execute(self, job: _Job) -> None:
        """Run the task's pod and end the task, or hand it over."""
        if not self._supported:
            await self._hand_over(job, "PodExecutor has not been tested with this Airflow")
            return
        if "pod" not in job.config:
            await self._hand_over(job, "PodExecutor runs only tasks of PodOperator")
            return
        try:
            begun = job.begun = await self._in_database(begin, job.ti, job.config["pod"])
            job.has_heartbeat = True
            if begun.pod.skip_to:
                await self._finish(job, begun, {"skip_to": begun.pod.skip_to})
            else:
                await self._run_pod(job, begun)
        except NotOurs:
            raise
        except (PodFailed, PodRefused) as error:
            await self._store_progress(job)
            await self._hand_over(job, "it has no result", error_outcome(error) if job.begun else None)
        except Exception as error:
            await self._hand_over(job, _why(error))

    async def _run_pod(self, job: _Job, begun: Begun) -> None:
        """Run the pod; delete it when what became of it is in the database."""
        pod, seconds = begun.pod, job.config["execution_timeout"]
        informer = self._informer(pod.kubernetes_conn_id, pod.namespace)
        deadline = asyncio.timeout(seconds)
        try:
            running = task_result(
                pod,
                job.log.info,
                informer,
                note_uid=job.note_uid,
                note_progress=job.note_progress,
            )
            async with deadline, running as result:
                deadline.reschedule(None)
                await self._finish(job, begun, {"result": result})
        except TimeoutError as error:
            if not deadline.expired():
                raise
            await delete_task_pods(pod, job.pod_uid)
            raise PodFailed(f"the task did not end within its execution_timeout of {seconds:g} s") from error

    async def _finish(self, job: _Job, begun: Begun, outcome: Outcome) -> None:
        """End the task as a success, or hand it over with its outcome."""
        job.has_heartbeat = False
        try:
            step = self._next_step(job, begun, outcome)
            pushed = outcome if begun.pod.do_xcom_push or "skip_to" in outcome else {"result": None}
            await self._in_database(partial(end, job.ti, pushed, step, is_mapped_over=begun.is_mapped_over))
        except NotOurs:
            raise
        except Exception as error:
            await self._hand_over(job, _why(error), outcome)
            return
        if "result" in outcome:
            for line in log_lines(outcome["result"]):
                job.log.info(line)
        if step:
            job.log.info(f"The next task is {step.task_id}")

    def _next_step(self, job: _Job, begun: Begun, outcome: Outcome) -> NextStep | None:
        """Return the branch that the task takes; None if all its downstream tasks follow."""
        if "skip_to" in outcome:
            return NextStep(outcome["skip_to"])
        if not job.config["next_step"]:
            return None
        step = call(job.config["next_step"], outcome["result"], begun.params)
        if step is None:
            raise NeedsWorker("its branch is for a worker to take")
        return step

    async def _hand_over(self, job: _Job, why: str, outcome: Outcome | None = None) -> None:
        job.has_heartbeat = False
        job.log.info(f"A worker ends this task: {why}")
        await self._in_database(hand_over, job.ti, outcome)
        if self._supported:
            self._next_tries.add(job.ti.id, job.workload.key)

    async def _abandon(self, job: _Job) -> TaskInstanceState | None:
        """Leave the row to whoever has changed it, and delete the pod unless another process waits for it.

        Returns the state to report to the scheduler, if it waits for one.
        """
        is_this_try, state = await self._in_database(state_of, job.ti)
        if is_this_try and state in ("queued", "running", "scheduled", "deferred"):
            return None
        job.log.info(f"The task was changed from outside: it is {state or 'cleared'}")
        # A later try, here or in another process, may have found the pod already, and waits for it.
        if state != "running" and not any(job.is_another_try_of(other) for other in self._jobs.values()):
            if job.begun:
                await delete_task_pods(job.begun.pod, job.pod_uid)
            elif state in ("success", "failed", "skipped") and "pod" in job.config:
                await self._delete_pod_of_earlier_try(job)
        # A task that is cleared while it runs begins anew when its executor says that it has stopped. A task
        # that is cleared in the moment in which it is queued may stay queued under another id, for nobody.
        reports = {"restarting": TaskInstanceState.SUCCESS, "queued": TaskInstanceState.FAILED}
        return reports.get(state or "")

    async def _delete_pod_of_earlier_try(self, job: _Job) -> None:
        """Delete the pod that an earlier try has left, if there is one.

        There is one if people mark the task after its scheduler has died and before this scheduler begins it.
        """
        with suppress(NeedsWorker, PodRefused):  # then a worker has created the pod
            if pod := await self._in_database(pod_of, job.ti, job.config["pod"]):
                await delete_task_pods(pod)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        """Store heartbeats, and stop the tasks that no longer run here."""
        jobs = {job.ti.id: job for job in self._jobs.values() if job.has_heartbeat}
        if not jobs:
            return
        try:
            beating = await self._in_database(beat, jobs.keys())
        except Exception:
            self.log.exception("PodExecutor could not store its tasks' heartbeats")
            return
        for ti_id, job in jobs.items():
            if ti_id not in beating and job.has_heartbeat:
                job.has_heartbeat, job.is_lost = False, True
                job.running.cancel()
            elif job.has_heartbeat:
                await self._store_progress(job)

    async def _store_progress(self, job: _Job) -> None:
        """Store the progress of the task's set of pods for people, unless it is stored already."""
        progress, job.progress = job.progress, None
        if progress is None:
            return
        try:
            await self._in_database(store_progress, job.ti, progress)
        except NotOurs:
            pass  # the task has ended meanwhile, or others have changed it, which the next heartbeat notices
        except Exception:
            self.log.exception("PodExecutor could not store the progress of task %s", job.workload.key)

    def _informer(self, conn_id: str, namespace: str) -> Informer:
        key = conn_id, namespace
        if key not in self._informers:
            self._informers[key] = Informer(conn_id, namespace)
        return self._informers[key]

    async def _in_database(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Call a function in the thread of the database, again while the database does not answer."""
        from sqlalchemy.exc import InterfaceError, OperationalError
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

        with_retries = AsyncRetrying(
            retry=retry_if_exception_type((OperationalError, InterfaceError)),
            wait=wait_exponential_jitter(multiplier=0.1, max=5),
            stop=stop_after_delay(DATABASE_SECONDS),
            reraise=True,
        )

        def locked() -> Answer:
            with _FORK_LOCK:
                return function(*args)

        async def attempt() -> Answer:
            return await self._loop.run_in_executor(self._database, locked)

        return await with_retries(attempt)

    async def _stop(self) -> None:
        self._beating.cancel()
        # If people have changed a task since the last heartbeat, or its end is being committed, its job has
        # yet to delete the pod. The next scheduler would not find that pod.
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS / 4):
                await self._beat()
        jobs = list(self._jobs.values())
        if ending := [job.running for job in jobs if job.begun and not job.has_heartbeat]:
            await asyncio.wait(ending, timeout=STOP_SECONDS / 2)
        for job in jobs:
            job.running.cancel()
        await asyncio.gather(*(job.running for job in jobs), return_exceptions=True)
        for informer in self._informers.values():
            await informer.close()


class _Job:
    """A task in progress."""

    def __init__(self, workload: ExecuteTask) -> None:
        self.workload = workload
        self.ti = workload.ti
        self.log = TaskLog(workload.log_path or "", workload.ti)
        self.config: dict[str, Any] = workload.ti.executor_config or {}
        self.begun: Begun | None = None
        self.pod_uid = ""  # until its pod has been created or found
        self.progress: Progress | None = None  # of its set of pods, since it was last stored
        self.has_heartbeat = False
        self.is_lost = False
        self.running: asyncio.Task[None]

    def is_another_try_of(self, other: _Job) -> bool:
        """Return whether the other job is another try of the same task."""
        return self.workload.key.primary == other.workload.key.primary and other is not self

    def note_uid(self, uid: str) -> None:
        """Note the uid of the task's pod."""
        self.pod_uid = uid

    def note_progress(self, progress: Progress) -> None:
        """Note the progress of the task's set of pods."""
        self.progress = progress


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, NeedsWorker) else describe(error)


_FORK_LOCK = threading.Lock()
"""Held during each database call: a worker that is forked meanwhile would inherit locks that stay held."""


def _after_fork_in_child() -> None:
    """Have a worker that is forked from the scheduler wait for no thread that only the scheduler has."""
    _FORK_LOCK.release()
    if sync := sys.modules.get("asgiref.sync"):  # by which a connection is read for a pod
        sync.SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


os.register_at_fork(
    before=_FORK_LOCK.acquire, after_in_parent=_FORK_LOCK.release, after_in_child=_after_fork_in_child
)

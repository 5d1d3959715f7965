"""The pods of a task, one or a set: run them, wherever the task runs, and end them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic

from airflow_pods.client import Client
from airflow_pods.indexed import delete_live, indexed_result
from airflow_pods.informer import Informer
from airflow_pods.pod import Pod
from airflow_pods.progress import OnProgress, Progress
from airflow_pods.requests import watch_until
from airflow_pods.result import Result
from airflow_pods.runner import delete_by_name, pod_result
from airflow_pods.templates import PodTemplate, Reduce

_Running = AbstractAsyncContextManager[Result | None]

LINE_SECONDS = 10
"""How often the log says how far a set is."""


@asynccontextmanager
async def task_result(
    pod: PodTemplate,
    write: Callable[[str], object],
    informer: Informer | None = None,
    reduce: Reduce | None = None,
    note_uid: Callable[[str], object] | None = None,
    note_progress: OnProgress | None = None,
) -> AsyncIterator[Result | None]:
    """Run the pods, yield the result of the one or the summary of the set, and delete them.

    They are kept if the block raises an error, and where the task keeps its pods. Raises PodRefused or
    PodFailed. ``write`` takes lines for the task's log, ``note_uid`` the uid of the one pod once it is known;
    ``note_progress`` the progress of a set, about once per second; ``reduce`` replaces the function that the
    template names.
    """
    manifest = pod.manifest()
    if pod.count is None:
        watch = informer.watch_until if informer else watch_until

        async def noting(client: Client, seen: Pod, is_done: Callable[[Pod], bool]) -> Pod | None:
            if note_uid:
                note_uid(seen.metadata.uid)
            return await watch(client, seen, is_done)

        running: _Running = pod_result(pod.kubernetes_conn_id, manifest, noting, pod.keep, pod.result)
    else:
        pods = pod.indexed(reduce)
        write_line = progress_lines(write)

        def on_progress(progress: Progress) -> None:
            write_line(progress)
            if note_progress:
                note_progress(progress)

        running = indexed_result(pod.kubernetes_conn_id, manifest, pods, informer, on_progress, pod.keep)
    write(f"{pod.title()} in namespace {pod.namespace}")
    async with running as result:
        yield result


async def delete_task_pods(pod: PodTemplate, uid: str = "") -> None:
    """Delete the pod of a task that has ended without it; of a set, those pods that have not ended.

    Log it if that fails. With a ``uid``, a later pod of the same name is left alone.
    """
    if pod.skip_to:
        return
    if pod.count is None:
        await delete_by_name(pod.kubernetes_conn_id, pod.manifest(), uid)
    else:
        await delete_live(pod.kubernetes_conn_id, pod.manifest())


def progress_lines(write: Callable[[str], object]) -> Callable[[Progress], None]:
    """Return a function that writes a line about a set's progress, now and then and at the end."""
    last = monotonic()

    def report(progress: Progress) -> None:
        nonlocal last
        if progress.remaining and monotonic() < last + LINE_SECONDS:
            return
        last = monotonic()
        failed = f", {progress.failed} failed ({progress.failed_indices})" if progress.failed else ""
        running = f", {progress.running} running" if progress.running else ""
        write(f"{progress.succeeded} of {progress.count} pods succeeded{failed}{running}")
        if progress.refusal:
            write(f"No further pod for now: {progress.refusal}")

    return report

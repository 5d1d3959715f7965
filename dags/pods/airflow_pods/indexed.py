"""Many pods in one task: run a set of pods, each with an index, and return one summary of their results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_pods.client import Client, connect
from airflow_pods.errors import PodRefused, api_error
from airflow_pods.index_ledger import IndexLedger
from airflow_pods.informer import Informer
from airflow_pods.manifest import Manifest
from airflow_pods.pod_set import IndexedPods, set_selector
from airflow_pods.printable import printable
from airflow_pods.progress import OnProgress
from airflow_pods.requests import delete_pods
from airflow_pods.result import BadResult, Result, parse_result
from airflow_pods.runner import log_kept
from airflow_pods.set_run import SetRun

MOST_BYTES = 4095
"""The most bytes of a summary as JSON: as many as a pod's result may have."""


@asynccontextmanager
async def indexed_result(
    conn_id: str,
    manifest: Manifest,
    pods: IndexedPods,
    informer: Informer | None = None,
    on_progress: OnProgress | None = None,
    keep: bool = False,
) -> AsyncIterator[Result]:
    """Run the set of pods, yield a summary, and delete all its pods if the block raises nothing.

    With ``keep`` they are never deleted.

    The manifest's name is the set's identity; pod_set.py describes the pods that are made from it. Pods of
    the set that an earlier try left are taken over: the result of one that succeeded counts, one that has
    not ended is waited for, one that failed counts as an attempt. If all attempts of an index have failed in
    an earlier try, its pods are deleted and the index is run anew.

    The summary is a JSON object: ``count``, ``succeeded``, ``failed`` (the failed indices, ``3,17-19``),
    ``total`` (what `reduce` has made of the results) and ``sentence``.

    The set slows down where the API refuses pods for now (429, 5xx, a full quota) and where pods wait for a
    node. Raises PodFailed if more indices failed than may, or if the API allows no progress; PodRefused if no
    pod can start, or another try cannot help. Pods that have ended are kept for the next try.

    ``informer`` is a watch to share; without one, the set has its own. ``on_progress`` is called at most
    about once per second, and at the end.
    """
    from kubernetes_asyncio.client import ApiException

    pods.check(manifest)
    namespace = manifest["metadata"]["namespace"]
    watch = informer or Informer(conn_id, namespace, set_selector(manifest))
    async with connect(conn_id) as client:
        try:
            run = SetRun(client, manifest, pods, watch, on_progress)
            await run.run()
        except ApiException as error:
            raise api_error(manifest, error) from error
        finally:
            if watch is not informer:
                await watch.close()
        yield summary(manifest, run.ledger, run.total)
        if not keep:
            await _delete(client, manifest)


async def delete_live(conn_id: str, manifest: Manifest) -> None:
    """Delete the pods of a set that have not ended, of a task that has ended without them.

    Those that have ended are kept: if the task is cleared, they count. If that fails, log it.
    """
    async with connect(conn_id) as client:
        await _delete(client, manifest, fields="status.phase!=Succeeded,status.phase!=Failed")


async def _delete(client: Client, manifest: Manifest, fields: str | None = None) -> None:
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        await delete_pods(client, namespace, set_selector(manifest), fields=fields)
    except Exception as error:
        log_kept(f"set {name}", namespace, error)


def summary(manifest: Manifest, ledger: IndexLedger, total: object) -> Result:
    """Return the summary of a set. Raises PodRefused if Airflow could not keep the total."""
    name = manifest["metadata"]["name"]
    failed = ledger.failed_indices()
    sentence = f"{ledger.succeeded} of {ledger.count} pods of set {name} succeeded"
    if failed:
        sentence += f"; {ledger.failed} failed: {ledger.failed_indices(200)}"
    fields = {"count": ledger.count, "succeeded": ledger.succeeded, "failed": failed}
    try:
        text = json.dumps({**fields, "total": total, "sentence": sentence}, ensure_ascii=False)
        result = parse_result(text)
    except BadResult as error:
        fault = str(error)
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"what JSON cannot hold: {error}"
    else:
        size = len(text.encode())
        if size <= MOST_BYTES:
            return result
        fault = f"a total with which the summary has {size} bytes, and {MOST_BYTES} is the most"
    raise PodRefused(
        f"reduce gave {printable(fault, 500)} (correct it, then clear the task: it keeps the pods that "
        "succeeded)"
    )

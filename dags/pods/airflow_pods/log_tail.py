"""The last lines of a pod's log, for the log of the task whose pod has failed."""

from __future__ import annotations

from airflow_pods.client import connect
from airflow_pods.definition import MAIN
from airflow_pods.errors import describe_api_error
from airflow_pods.manifest import Manifest
from airflow_pods.printable import printable

LINES = 50
"""The most lines that are read."""
CHARACTERS = 16_384
"""The most characters of them that are kept, the last ones; the limit of the API keeps the first."""


async def log_tail(conn_id: str, manifest: Manifest) -> list[str]:
    """Return the last lines of the main container's log, printable, with a heading.

    Without the right to read it, or without the pod, return one line that says so.
    """
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        async with connect(conn_id) as client:
            text = await client.call(
                lambda api: api.read_namespaced_pod_log(name, namespace, container=MAIN, tail_lines=LINES),
                none_if=[],
            )
    except Exception as error:
        return [printable(f"The log of pod {name} cannot be read: {describe_api_error(error)}")]
    lines = [printable(line) for line in (text or "")[-CHARACTERS:].splitlines()]
    return (
        [f"The last lines of the log of pod {name}:", *lines] if lines else [f"Pod {name} has logged nothing"]
    )

"""Objects as the tables that `kubectl get` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aiohttp import web

from scripts.kube.objects import Json, Kind, dig


def wants_table(request: web.Request) -> bool:
    """Return whether the client prefers a table to the objects."""
    return "as=Table" in request.headers.get("Accept", "")


def table(kind: Kind, things: Sequence[Json]) -> Json:
    """Return the objects as rows under the columns of their resource."""
    columns = _COLUMNS[kind.plural]
    rows = [{"cells": [_cell(thing, each) for each in columns.values()], "object": thing} for thing in things]
    definitions = [
        {
            "name": title.lstrip("+"),
            "type": "string",
            "format": "name" if title == "Name" else "",
            "priority": int(title.startswith("+")),
        }
        for title in columns
    ]
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}}
    return {**head, "columnDefinitions": definitions, "rows": rows}


def _cell(thing: Json, content: str | Callable[[Json], object]) -> str:
    value = dig(thing, content) if isinstance(content, str) else content(thing)
    return "<none>" if value is None else str(value)


def _age(timestamp: str) -> str:
    """Return the time since then in its largest unit of which there are at least two: 100s, 5m, 7h, 12d."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()))
    unit, size = next(item for item in _UNITS.items() if seconds >= 2 * item[1] or item[1] == 1)
    return f"{seconds // size}{unit}"


def _created(thing: Json) -> str:
    return _age(thing["metadata"]["creationTimestamp"])


def _containers(pod: Json) -> list[Json]:
    return pod["status"].get("containerStatuses") or []


def _ready(pod: Json) -> str:
    return f"{sum(one['ready'] for one in _containers(pod))}/{len(pod['spec']['containers'])}"


def _restarts(pod: Json) -> int:
    return sum(one["restartCount"] for one in _containers(pod))


def _status(pod: Json) -> str:
    """Return the most specific reason, chosen as the API server does."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    inits = pod["status"].get("initContainerStatuses", [])
    for number, container in enumerate(inits):
        if dig(container, "state.terminated.exitCode") != 0:
            reason = _reason(container)
            return f"Init:{number}/{len(inits)}" if reason in ("", "PodInitializing") else f"Init:{reason}"
    reasons = [pod["status"].get("reason", ""), *map(_reason, _containers(pod)), pod["status"]["phase"]]
    reason = next(filter(None, reasons))
    running = any(one["ready"] for one in _containers(pod))
    return "Running" if reason == "Completed" and running else str(reason)


def _amount_of_data(secret: Json) -> int:
    return len(secret["data"])


def _reason(container: Json) -> str:
    state = next(iter(container["state"].values()))
    return str(state.get("reason", ""))


_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_COLUMNS: dict[str, dict[str, str | Callable[[Json], object]]] = {
    "pods": {
        "Name": "metadata.name",
        "Ready": _ready,
        "Status": _status,
        "Restarts": _restarts,
        "Age": _created,
        "+IP": "status.podIP",
        "+Node": "spec.nodeName",
    },
    "events": {
        "Last Seen": lambda event: _age(event["lastTimestamp"]),
        "Type": "type",
        "Reason": "reason",
        "Object": lambda event: f"pod/{event['involvedObject']['name']}",
        "Message": "message",
    },
    "namespaces": {"Name": "metadata.name", "Status": "status.phase", "Age": _created},
    "secrets": {"Name": "metadata.name", "Type": "type", "Data": _amount_of_data, "Age": _created},
}
"""Each resource's columns with the path or the function of their cells; + marks those of `-o wide` only."""

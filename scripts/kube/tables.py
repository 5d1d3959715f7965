"""Objects as the tables that `kubectl get` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from scripts.kube.kinds import Kind
from scripts.kube.objects import Json


def wants_table(request: web.Request) -> bool:
    """Return whether the client prefers a table to the objects."""
    return "as=Table" in request.headers.get("Accept", "")


def table(kind: Kind, things: Sequence[Json], version: str, *, headed: bool = True) -> Json:
    """Return the objects as rows, with the columns' names if `headed`."""
    columns, cells = _TABLES[kind.plural]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [_definition(name) for name in columns] if headed else None,
        "rows": [{"cells": cells(thing), "object": thing} for thing in things],
    }


def _definition(name: str) -> Json:
    """Describe a column; one whose name begins with + is shown with `-o wide` only."""
    type_ = "integer" if name in ("Restarts", "Data") else "string"
    format_ = "name" if name == "Name" else ""
    title, priority = name.lstrip("+"), int(name.startswith("+"))
    return {"name": title, "type": type_, "format": format_, "description": title, "priority": priority}


def _age(timestamp: str | None) -> str:
    """Return the time since then in its largest unit of which there are at least two: 100s, 5m, 7h, 12d."""
    if not timestamp:
        return "<unknown>"
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()))
    units = {"d": 86_400, "h": 3_600, "m": 60}
    return next(
        (f"{seconds // size}{unit}" for unit, size in units.items() if seconds >= 2 * size), f"{seconds}s"
    )


def _created(thing: Json) -> str:
    return _age(thing["metadata"].get("creationTimestamp"))


def _pod(pod: Json) -> list[Any]:
    spec, status = pod["spec"], pod["status"]
    containers = status.get("containerStatuses", [])
    return [
        pod["metadata"]["name"],
        f"{sum(container['ready'] for container in containers)}/{len(spec['containers'])}",
        _pod_reason(pod),
        sum(container["restartCount"] for container in containers),
        _created(pod),
        status.get("podIP", "<none>"),
        spec.get("nodeName", "<none>"),
    ]


def _pod_reason(pod: Json) -> str:
    """Return the STATUS column: the most specific reason, chosen as the API server does."""
    status = pod["status"]
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    inits = status.get("initContainerStatuses", [])
    for number, container in enumerate(inits):
        if container["state"].get("terminated", {}).get("exitCode") != 0:
            reason = _state_reason(container["state"])
            return f"Init:{number}/{len(inits)}" if reason in ("", "PodInitializing") else f"Init:{reason}"
    if status.get("reason"):
        return str(status["reason"])
    reasons = [_state_reason(container["state"]) for container in status.get("containerStatuses", [])]
    reason = next(filter(None, reasons), "")
    running = any(container["ready"] for container in status.get("containerStatuses", []))
    if reason == "Completed" and running:
        return "Running"
    return reason or str(status["phase"])


def _state_reason(state: Json) -> str:
    if "terminated" in state:
        return str(state["terminated"].get("reason") or f"ExitCode:{state['terminated']['exitCode']}")
    return str(state.get("waiting", {}).get("reason", ""))


def _event(event: Json) -> list[Any]:
    about = event["involvedObject"]
    return [
        _age(event["lastTimestamp"]),
        event["type"],
        event["reason"],
        f"{about['kind'].lower()}/{about['name']}",
        event["message"],
        about.get("fieldPath", ""),
        ", ".join(event["source"].values()),
        event["metadata"]["name"],
    ]


def _namespace(namespace: Json) -> list[Any]:
    return [namespace["metadata"]["name"], namespace["status"]["phase"], _created(namespace)]


def _secret(secret: Json) -> list[Any]:
    return [secret["metadata"]["name"], secret["type"], len(secret["data"]), _created(secret)]


def _node(node: Json) -> list[Any]:
    version = node["status"]["nodeInfo"]["kubeletVersion"]
    return [node["metadata"]["name"], "Ready", "<none>", _created(node), version]


_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Json], list[Any]]]] = {
    "pods": (("Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node"), _pod),
    "events": (
        ("Last Seen", "Type", "Reason", "Object", "Message", "+Subobject", "+Source", "+Name"),
        _event,
    ),
    "namespaces": (("Name", "Status", "Age"), _namespace),
    "secrets": (("Name", "Type", "Data", "Age"), _secret),
    "nodes": (("Name", "Status", "Roles", "Age", "Version"), _node),
}
"""Each resource's columns, and the cells of a row."""

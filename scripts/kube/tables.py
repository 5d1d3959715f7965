"""Objects as the tables that `kubectl get` prints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from scripts.kube.kinds import Kind
from scripts.kube.objects import Json, parse_time

_Cells = Callable[[Json], list[Any]]
_Column = tuple[str, str, int]  # name, type, priority: 0 always shown, 1 with `-o wide`


def wanted(accept: str) -> bool:
    """Whether the client would rather have a table."""
    return "as=Table" in accept


def table(kind: Kind, things: list[Json], metadata: Json, *, include: str, headed: bool = True) -> Json:
    """The objects as rows; `include` is the request's includeObject: None, Metadata or Object."""
    columns, cells = _TABLES.get(kind.plural, _GENERIC)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns] if headed else None,
        "rows": [{"cells": cells(thing), "object": _embedded(thing, include)} for thing in things],
    }


def age(timestamp: str | None) -> str:
    """How long ago a moment was, in the one or two units that matter: 42s, 3m5s, 7h, 12d."""
    if not timestamp:
        return "<unknown>"
    seconds = max(0, int((datetime.now(UTC) - parse_time(timestamp)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m"
    return f"{hours}h" if hours < 48 else f"{days}d"


def _definition(column: _Column) -> Json:
    name, type_, priority = column
    format_ = "name" if name == "Name" else ""
    return {"name": name, "type": type_, "format": format_, "description": name, "priority": priority}


def _embedded(thing: Json, include: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return thing
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {**partial, "metadata": thing["metadata"]}


def _created(thing: Json) -> str:
    return age(thing["metadata"].get("creationTimestamp"))


def _pod(pod: Json) -> list[Any]:
    spec, status = pod["spec"], pod["status"]
    containers = status.get("containerStatuses", [])
    ready = sum(1 for container in containers if container["ready"])
    restarts = sum(container["restartCount"] for container in containers)
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec['containers'])}",
        _pod_reason(pod),
        restarts,
        _created(pod),
        status.get("podIP", "<none>"),
        spec.get("nodeName", "<none>"),
        "<none>",
        "<none>",
    ]


def _pod_reason(pod: Json) -> str:
    """The STATUS column: the most telling reason, as the API server picks it."""
    status = pod["status"]
    reason: str = status.get("reason") or status["phase"]
    inits = status.get("initContainerStatuses", [])
    for number, container in enumerate(inits):
        state = container["state"]
        if state.get("terminated", {}).get("exitCode") == 0:
            continue
        told = _state_reason(state)
        reason = f"Init:{told}" if told not in ("", "PodInitializing") else f"Init:{number}/{len(inits)}"
        break
    else:
        containers = status.get("containerStatuses", [])
        told = next((text for text in (_state_reason(c["state"]) for c in containers) if text), "")
        running = any("running" in c["state"] and c["ready"] for c in containers)
        if told and not status.get("reason"):
            reason = "Running" if told == "Completed" and running else told
    return "Terminating" if pod["metadata"].get("deletionTimestamp") else reason


def _state_reason(state: Json) -> str:
    if "waiting" in state:
        return str(state["waiting"].get("reason", ""))
    if "terminated" in state:
        ended = state["terminated"]
        return str(ended.get("reason") or f"ExitCode:{ended['exitCode']}")
    return ""


def _event(event: Json) -> list[Any]:
    about, source = event["involvedObject"], event.get("source", {})
    return [
        age(event.get("lastTimestamp") or event.get("eventTime")),
        event["type"],
        event["reason"],
        f"{about['kind'].lower()}/{about['name']}",
        about.get("fieldPath", ""),
        ", ".join(source.values()),
        event["message"],
        event["metadata"]["name"],
    ]


def _namespace(namespace: Json) -> list[Any]:
    return [namespace["metadata"]["name"], namespace["status"]["phase"], _created(namespace)]


def _secret(secret: Json) -> list[Any]:
    return [secret["metadata"]["name"], secret["type"], len(secret.get("data") or {}), _created(secret)]


def _node(node: Json) -> list[Any]:
    version = node["status"]["nodeInfo"]["kubeletVersion"]
    return [node["metadata"]["name"], "Ready", "<none>", _created(node), version]


def _generic(thing: Json) -> list[Any]:
    return [thing["metadata"]["name"], _created(thing)]


_NAME: _Column = ("Name", "string", 0)
_AGE: _Column = ("Age", "string", 0)
_GENERIC: tuple[list[_Column], _Cells] = ([_NAME, _AGE], _generic)
_TABLES: dict[str, tuple[list[_Column], _Cells]] = {
    "pods": (
        [
            _NAME,
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "integer", 0),
            _AGE,
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
        _pod,
    ),
    "events": (
        [
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Subobject", "string", 1),
            ("Source", "string", 1),
            ("Message", "string", 0),
            ("Name", "string", 1),
        ],
        _event,
    ),
    "namespaces": ([_NAME, ("Status", "string", 0), _AGE], _namespace),
    "secrets": ([_NAME, ("Type", "string", 0), ("Data", "integer", 0), _AGE], _secret),
    "nodes": (
        [_NAME, ("Status", "string", 0), ("Roles", "string", 0), _AGE, ("Version", "string", 0)],
        _node,
    ),
}

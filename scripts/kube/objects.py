"""The resources that are served, the documents that list them, and helpers for their objects, plain JSON."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace, "" for objects without one, and name."""

VERSION = "v1.30.0-local-processes"
NODE = "local-processes"
"""The name of the only node, which has no object of its own."""

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True)
class Kind:
    """One resource: its names, verbs, scope, and the fields that a field selector may name."""

    plural: str
    name: str
    short: str = ""
    verbs: tuple[str, ...] = (*_READ, *_WRITE)
    fields: tuple[str, ...] = ()
    namespaced: bool = True


PODS = Kind("pods", "Pod", "po", fields=("spec.nodeName", "status.phase"))
SECRETS = Kind("secrets", "Secret", fields=("type",))
_NO_COLLECTION = tuple(verb for verb in (*_READ, *_WRITE) if verb != "deletecollection")
NAMESPACES = Kind("namespaces", "Namespace", "ns", _NO_COLLECTION, namespaced=False)
_INVOLVED = tuple(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "fieldPath"))
EVENTS = Kind("events", "Event", "ev", (*_READ, "delete", "deletecollection"), (*_INVOLVED, "reason", "type"))

KINDS = {kind.plural: kind for kind in (EVENTS, NAMESPACES, PODS, SECRETS)}


def key_of(thing: Json) -> Key:
    """Return the key that the object is stored under."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; raise ValueError for NaN and for half a surrogate pair."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def timestamp(moment: datetime) -> str:
    """Return a moment in UTC, as Kubernetes writes times: in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """Return the current second, as Kubernetes writes times."""
    return _second(int(time.time()))


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return timestamp(datetime.fromtimestamp(second, UTC))


def dig(thing: Any, path: str) -> Any:
    """Return the value at a dotted path, or None where the path leads nowhere."""
    for part in path.split("."):
        if not isinstance(thing, dict):
            return None
        thing = thing.get(part)
    return thing


def documents() -> dict[str, Json]:
    """Return by path the documents in which clients look up what is served."""
    subresource = {"singularName": "", "namespaced": True}
    resources = [
        *map(_resource, KINDS.values()),
        {"name": "pods/log", "kind": "Pod", "verbs": ["get"], **subresource},
        {"name": "pods/exec", "kind": "PodExecOptions", "verbs": ["create", "get"], **subresource},
    ]
    unknown = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler"), "")
    release = {"major": "1", "minor": "30", "gitVersion": VERSION}
    return {
        "/version": {**release, **unknown, "platform": f"{platform.system().lower()}/{platform.machine()}"},
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}},
        "/openapi/v3/api/v1": _openapi(),
    }


def _resource(kind: Kind) -> Json:
    return {
        "name": kind.plural,
        "singularName": kind.name.lower(),
        "shortNames": [kind.short] if kind.short else [],
        "categories": ["all"] if kind is PODS else [],
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": kind.verbs,
    }


def _openapi() -> Json:
    """Return just enough OpenAPI that kubectl leaves validation to the server.

    It looks for a parameter `fieldValidation` of patches.
    """
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for kind in KINDS.values():
        group = {"group": "", "version": "v1", "kind": kind.name}
        patch = {"parameters": [parameter], "x-kubernetes-group-version-kind": group, "responses": {}}
        scope = "namespaces/{namespace}/" if kind.namespaced else ""
        paths[f"/api/v1/{scope}{kind.plural}/{{name}}"] = {"patch": patch}
    head = {"openapi": "3.0.0", "info": {"title": NODE, "version": VERSION}}
    return {**head, "paths": paths, "components": {"schemas": {}}}

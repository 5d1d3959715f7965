"""The documents in which clients look up what is served."""

from __future__ import annotations

import platform

from scripts.kube.kinds import KINDS, NODE, PODS, Kind
from scripts.kube.objects import Json

VERSION = "v1.30.0-local-processes"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def documents() -> dict[str, Json]:
    """Return the fixed answers by path."""
    resources = [_resource(kind) for kind in KINDS.values()]
    resources += [
        _subresource("log", "Pod", ["get"]),
        _subresource("exec", "PodExecOptions", ["create", "get"]),
    ]
    unknown = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler"), "")
    release = {"major": "1", "minor": "30", "gitVersion": VERSION}
    return {
        "/version": {**release, **unknown, "platform": f"{platform.system().lower()}/{ARCHITECTURE}"},
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
        "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}},
        "/openapi/v3/api/v1": _openapi(),
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


def _subresource(name: str, kind: str, verbs: list[str]) -> Json:
    return {"name": f"pods/{name}", "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}

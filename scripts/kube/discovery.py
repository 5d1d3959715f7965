"""What is served here, and by whom, as clients ask for it first."""

from __future__ import annotations

import platform

from scripts.kube import schema
from scripts.kube.kinds import KINDS, PODS, Kind
from scripts.kube.objects import Json

NODE = "local-processes"
VERSION = "v1.30.0-local-processes"


def version() -> Json:
    """The answer of /version: a stand-in, and says so."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1",
        "minor": "30",
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none: a stand-in that runs containers as local processes",
        "compiler": "none",
        "platform": f"{platform.system().lower()}/{machine}",
    }


def versions(address: str) -> Json:
    """The answer of /api."""
    served = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [served]}


def groups() -> Json:
    """The answer of /apis: core/v1 is all there is."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}


def resources() -> Json:
    """The answer of /api/v1."""
    served = [_resource(kind) for kind in KINDS.values()]
    served += [
        _subresource("pods/attach", "PodAttachOptions", ["create", "get"]),
        _subresource("pods/exec", "PodExecOptions", ["create", "get"]),
        _subresource("pods/log", PODS.name, ["get"]),
        _subresource("pods/status", PODS.name, ["get"]),
    ]
    return {"kind": "APIResourceList", "groupVersion": "v1", "resources": served}


def openapi_index() -> Json:
    """The answer of /openapi/v3."""
    return {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}


def openapi() -> Json:
    """The answer of /openapi/v3/api/v1: the types that `kubectl explain` shows.

    Where patches have a parameter `fieldValidation`, kubectl leaves validation to the server.
    """
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for kind in KINDS.values():
        group = {"group": "", "version": "v1", "kind": kind.name}
        patch = {"parameters": [parameter], "x-kubernetes-group-version-kind": group, "responses": {}}
        scope = "namespaces/{namespace}/" if kind.namespaced else ""
        paths[f"/api/v1/{scope}{kind.plural}/{{name}}"] = {"patch": patch}
    information = {"title": NODE, "version": VERSION}
    return {"openapi": "3.0.0", "info": information, "paths": paths, "components": schema.components()}


def _resource(kind: Kind) -> Json:
    entry: Json = {
        "name": kind.plural,
        "singularName": kind.name.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": sorted(kind.verbs),
    }
    if kind.short:
        entry["shortNames"] = list(kind.short)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _subresource(name: str, kind: str, verbs: list[str]) -> Json:
    return {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}

"""The resources that are served; routes, discovery, selectors and tables read their facts here."""

from __future__ import annotations

from dataclasses import dataclass

NODE = "local-processes"
"""The name of the only node."""

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ = ("get", "list", "watch")


@dataclass(frozen=True)
class Kind:
    """One resource: its names, verbs, scope, and the fields that a field selector may name."""

    plural: str
    name: str
    short: str
    verbs: tuple[str, ...]
    fields: tuple[str, ...] = ()
    namespaced: bool = True
    kept: bool = True
    """Whether its objects outlive the endpoint's process."""


PODS = Kind(
    "pods", "Pod", "po", _ALL, ("spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP")
)
SECRETS = Kind("secrets", "Secret", "", _ALL, ("type",))
EVENTS = Kind(
    "events",
    "Event",
    "ev",
    ("delete", "deletecollection", *_READ),
    (
        *(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "fieldPath")),
        *("reason", "type"),
    ),
    kept=False,
)
NAMESPACES = Kind(
    "namespaces",
    "Namespace",
    "ns",
    ("create", "delete", "get", "list", "patch", "update", "watch"),
    ("status.phase",),
    namespaced=False,
)
NODES = Kind("nodes", "Node", "no", _READ, namespaced=False, kept=False)

KINDS = {kind.plural: kind for kind in (EVENTS, NAMESPACES, NODES, PODS, SECRETS)}

"""The resources that are served, one line of facts each; discovery, selectors and routes read them here."""

from __future__ import annotations

from dataclasses import dataclass

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ = ("get", "list", "watch")


@dataclass(frozen=True)
class Kind:
    """One resource: its names, whether it lives in a namespace, its verbs, its selectable fields."""

    plural: str
    name: str
    verbs: tuple[str, ...]
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    kept: bool = True
    """Whether it outlives the endpoint's own process."""

    @property
    def type(self) -> str:
        """The name of the Kubernetes client's model."""
        return "CoreV1Event" if self.name == "Event" else f"V1{self.name}"

    @property
    def selectable(self) -> frozenset[str]:
        """The paths a field selector may name."""
        return frozenset(("metadata.name", "metadata.namespace", *self.fields))


PODS = Kind(
    "pods",
    "Pod",
    _ALL,
    short=("po",),
    categories=("all",),
    fields=(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
)
EVENTS = Kind(
    "events",
    "Event",
    ("delete", "deletecollection", *_READ),
    short=("ev",),
    fields=(
        *(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion")),
        *(f"involvedObject.{field}" for field in ("resourceVersion", "fieldPath")),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    kept=False,
)
SECRETS = Kind("secrets", "Secret", _ALL, fields=("type",))
SERVICE_ACCOUNTS = Kind("serviceaccounts", "ServiceAccount", _READ, short=("sa",))
NAMESPACES = Kind(
    "namespaces",
    "Namespace",
    ("create", "delete", "get", "list", "patch", "update", "watch"),
    namespaced=False,
    short=("ns",),
    fields=("status.phase",),
)
NODES = Kind("nodes", "Node", _READ, namespaced=False, short=("no",), kept=False)

KINDS = {kind.plural: kind for kind in (EVENTS, NAMESPACES, NODES, PODS, SECRETS, SERVICE_ACCOUNTS)}

"""The verbs of core/v1 over the store: create, get, list, patch, update, delete."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from scripts.kube import patches, selectors, tables
from scripts.kube.deletion import delete, new_namespace
from scripts.kube.errors import (
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    method_not_allowed,
    no_such_resource,
    not_found,
    success,
    unreadable,
)
from scripts.kube.execs import serve_exec
from scripts.kube.kinds import NAMESPACES, PODS, SECRETS, Kind
from scripts.kube.kubelet import Kubelet
from scripts.kube.objects import Json, key_of, new_uid, now, random_suffix
from scripts.kube.podlogs import serve_log
from scripts.kube.pods import new_pod
from scripts.kube.requests import Target, answer, body_of, checked, flag, number, patch_of, target_of
from scripts.kube.rules import metadata_causes, secret_causes
from scripts.kube.store import Store
from scripts.kube.watches import Watches

_Handler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]
_FIXED = "Forbidden: pod updates may not change the spec: delete the pod and create another"


class Api:
    """Everything under /api/v1."""

    def __init__(self, store: Store, kubelet: Kubelet, watches: Watches) -> None:
        self._store = store
        self._kubelet = kubelet
        self._watches = watches
        self._objects: dict[str, tuple[str, _Handler]] = {
            "GET": ("get", self._get),
            "PUT": ("update", self._replace),
            "PATCH": ("patch", self._patch),
            "DELETE": ("delete", self._delete),
        }
        self._collections: dict[str, tuple[str, _Handler]] = {
            "GET": ("list", self._list),
            "POST": ("create", self._create),
            "DELETE": ("deletecollection", self._delete_collection),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one request."""
        target = target_of(request.match_info["path"])
        if target.subresource:
            return await self._subresource(request, target)
        verb, handler = (self._objects if target.name else self._collections).get(request.method, ("", None))
        if handler is None or verb not in target.kind.verbs:
            raise method_not_allowed()
        return await handler(request, target)

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.kind is not PODS or target.subresource not in ("log", "exec", "status"):
            raise no_such_resource()
        pod = self._find(target)
        if target.subresource == "exec" and request.method in ("GET", "POST"):
            return await serve_exec(request, pod, self._kubelet)
        if request.method != "GET":
            raise method_not_allowed()
        if target.subresource == "log":
            return await serve_log(request, pod, self._kubelet)
        return answer(pod)

    async def _get(self, request: web.Request, target: Target) -> web.Response:
        thing = self._find(target)
        if tables.wanted(request.headers.get("Accept", "")):
            metadata = {"resourceVersion": thing["metadata"]["resourceVersion"]}
            return answer(tables.table(target.kind, [thing], metadata, include=_include(request)))
        return answer(thing)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        matches = selectors.parse(
            target.kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        )
        if flag(request, "watch"):
            return await self._watches.serve(request, target, matches)
        found = [thing for thing in self._store.list(target.kind, target.namespace) if matches(thing)]
        things, metadata = self._page(request, found)
        if tables.wanted(request.headers.get("Accept", "")):
            return answer(tables.table(target.kind, things, metadata, include=_include(request)))
        kind = f"{target.kind.name}List"
        return answer({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": things})

    def _page(self, request: web.Request, found: list[Json]) -> tuple[list[Json], Json]:
        """The part of a list that `limit` and `continue` ask for.

        Later pages show the present, not the moment of the first page, as in the original they do once
        that moment is forgotten.
        """
        metadata: Json = {"resourceVersion": str(self._store.version)}
        if token := request.query.get("continue"):
            after = _read_continue(token)
            found = [thing for thing in found if key_of(thing) > after]
        limit = number(request, "limit") or 0
        if 0 < limit < len(found):
            last = json.dumps(key_of(found[limit - 1])).encode()
            metadata["continue"] = base64.urlsafe_b64encode(last).decode()
            metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return found, metadata

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        thing = await self._read(request, target)
        kind = target.kind
        metadata = {name: value for name, value in thing["metadata"].items() if name not in _SERVERS_OWN}
        thing["metadata"] = metadata
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        if kind.namespaced:
            self._check_namespace(kind, target.namespace, metadata)
        thing = _new(kind, thing)
        if self._store.get(kind, key_of(thing)) is not None:
            raise already_exists(kind.plural, metadata["name"])
        if flag_dry_run(request):
            stamp = {"uid": new_uid(), "creationTimestamp": now()}
            return answer({**thing, "metadata": {**thing["metadata"], **stamp}}, 201)
        return answer(self._store.create(kind, thing), 201)

    def _check_namespace(self, kind: Kind, name: str, metadata: Json) -> None:
        if not name:
            raise method_not_allowed()
        if metadata.setdefault("namespace", name) != name:
            raise bad_request("the namespace of the provided object does not match the one of the request")
        namespace = self._store.get(NAMESPACES, ("", name))
        if namespace is None:
            raise not_found("namespaces", name)
        if "deletionTimestamp" in namespace["metadata"]:
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise forbidden(kind.plural, metadata.get("name", ""), why)

    async def _replace(self, request: web.Request, target: Target) -> web.Response:
        old = self._find(target)
        return self._update(request, target, old, await self._read(request, target))

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        patch = await patch_of(request)
        old = self._find(target)
        patched = patches.apply(request.content_type, old, patch)
        return self._update(request, target, old, checked(request, patched, target.kind.type))

    def _update(self, request: web.Request, target: Target, old: Json, new: Json) -> web.Response:
        kind = target.kind
        metadata, before = new.get("metadata", {}), old["metadata"]
        version = metadata.get("resourceVersion")
        if version not in (None, "", before["resourceVersion"]):
            why = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            raise conflict(kind.plural, target.name, why)
        kept = {name: before[name] for name in _GIVEN if name in before}
        changed = {
            name: value for name, value in metadata.items() if name not in _GIVEN and value is not None
        }
        new = {**new, "kind": kind.name, "apiVersion": "v1", "metadata": {**changed, **kept}}
        if causes := list(metadata_causes(new["metadata"])):
            raise invalid(kind.name, target.name, causes)
        if kind is SECRETS:
            new = _new_secret(new)
        if "status" in old:
            new["status"] = old["status"]
        if kind is PODS and new.get("spec") != old["spec"]:
            cause = {"reason": "FieldValueForbidden", "message": _FIXED, "field": "spec"}
            raise invalid(kind.name, target.name, [cause])
        return answer(new if flag_dry_run(request) else self._store.update(kind, new))

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await body_of(request, _DELETE_OPTIONS)
        thing = self._find(target)
        _check_preconditions(target, thing, options.get("preconditions") or {})
        if flag_dry_run(request, options):
            return answer(thing)
        left = delete(self._store, target.kind, thing, _grace(request, options))
        if target.kind in (PODS, NAMESPACES):
            return answer(left)
        return answer(success(target.kind.plural, target.name, thing["metadata"]["uid"]))

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        options = await body_of(request, _DELETE_OPTIONS)
        matches = selectors.parse(
            target.kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        )
        found = [thing for thing in self._store.list(target.kind, target.namespace) if matches(thing)]
        if not flag_dry_run(request, options):
            found = [delete(self._store, target.kind, thing, _grace(request, options)) for thing in found]
        metadata = {"resourceVersion": str(self._store.version)}
        kind = f"{target.kind.name}List"
        return answer({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": found})

    def _find(self, target: Target) -> Json:
        thing = self._store.get(target.kind, target.key)
        if thing is None:
            raise not_found(target.kind.plural, target.name)
        return thing

    async def _read(self, request: web.Request, target: Target) -> Json:
        """The object in the body, with metadata, and of the kind the path names."""
        thing = await body_of(request, target.kind.type)
        kind, version = thing.get("kind") or target.kind.name, thing.get("apiVersion") or "v1"
        if (kind, version) != (target.kind.name, "v1"):
            raise bad_request(f'{kind} in version "{version}" cannot be handled as a {target.kind.name}')
        thing.setdefault("metadata", {})
        if target.name and thing["metadata"].get("name") != target.name:
            raise bad_request(f"the name of the object does not match the name on the URL ({target.name})")
        return thing


_DELETE_OPTIONS = "V1DeleteOptions"
_SERVERS_OWN = (
    *("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("generation", "selfLink", "managedFields"),
)
"""The parts of a new object's metadata that clients do not give."""
_GIVEN = (
    *("name", "namespace", "uid", "creationTimestamp", "resourceVersion"),
    *("generateName", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"),
)
"""The parts of an object's metadata that clients do not change."""


def flag_dry_run(request: web.Request, options: Json | None = None) -> bool:
    """Whether the request only asks what would happen."""
    return "All" in (request.query.get("dryRun"), *((options or {}).get("dryRun") or []))


def _new(kind: Kind, thing: Json) -> Json:
    """The object as it is kept when it is new, its rules checked."""
    if kind is PODS:
        return new_pod(thing)
    if causes := list(metadata_causes(thing["metadata"])):
        raise invalid(kind.name, thing["metadata"].get("name", ""), causes)
    if kind is NAMESPACES:
        return new_namespace(thing)
    return _new_secret(thing) if kind is SECRETS else thing


def _new_secret(secret: Json) -> Json:
    data: dict[str, str] = {}
    for name, value in (secret.get("data") or {}).items():
        try:
            # Lines are allowed, as the program base64 writes them.
            content = base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
        except ValueError:
            raise unreadable(SECRETS.name, f"data.{name}: expected base64") from None
        data[name] = base64.b64encode(content).decode()
    for name, text in (secret.get("stringData") or {}).items():
        data[name] = base64.b64encode(text.encode()).decode()
    kept = {name: value for name, value in secret.items() if name != "stringData"}
    secret = {"type": "Opaque", **kept, "data": data}
    if causes := list(secret_causes(secret)):
        raise invalid(SECRETS.name, secret["metadata"].get("name", ""), causes)
    return secret


def _check_preconditions(target: Target, thing: Json, wanted: Json) -> None:
    for name, told in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        asked, present = wanted.get(name), thing["metadata"][name]
        if asked and asked != present:
            why = f"the {told} in the precondition ({asked}) does not match the {told} in record ({present})"
            raise conflict(target.kind.name, target.name, why)


def _grace(request: web.Request, options: Json) -> int | None:
    asked: int | None = options.get("gracePeriodSeconds")
    return number(request, "gracePeriodSeconds") if asked is None else asked


def _include(request: web.Request) -> str:
    return request.query.get("includeObject", "Metadata")


def _read_continue(token: str) -> tuple[str, str]:
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return f"{namespace}", f"{name}"
    except (ValueError, TypeError) as problem:
        raise bad_request(f"invalid continue token: {problem}") from problem

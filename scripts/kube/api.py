"""The verbs of core/v1 over the store: create, get, list, watch, patch, update, delete."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from scripts.kube.bodies import checked, json_of, patched, read_delete_options, read_object
from scripts.kube.deletion import delete, new_namespace
from scripts.kube.errors import (
    ApiError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    no_such_resource,
    not_found,
)
from scripts.kube.execs import serve_exec
from scripts.kube.kinds import NAMESPACES, PODS, Kind
from scripts.kube.kubelet import Kubelet
from scripts.kube.logs import serve_log
from scripts.kube.objects import Json, key_of, now
from scripts.kube.requests import Target, answer, flag, selection, target_of
from scripts.kube.store import Store
from scripts.kube.tables import table, wants_table
from scripts.kube.watches import serve_watch

_Handler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]

_OWN = {"uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"}
_OWN |= {"generation", "selfLink", "managedFields"}
"""The parts of an object's metadata that only the server sets."""
_FIXED = _OWN | {"name", "namespace", "generateName"}
"""The parts of an object's metadata that clients cannot change."""


class Api:
    """Everything under /api/v1."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store = store
        self._kubelet = kubelet
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
        """Serve one request."""
        target = target_of(request.match_info["path"])
        if target.subresource:
            return await self._subresource(request, target)
        verb, handler = (self._objects if target.name else self._collections).get(request.method, ("", None))
        if handler is None or verb not in target.kind.verbs:
            raise method_not_allowed()
        return await handler(request, target)

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        services = {"log": serve_log, "exec": serve_exec}
        if target.kind is not PODS or target.subresource not in services:
            raise no_such_resource()
        pod = self._find(target)
        if request.method != "GET" and (request.method != "POST" or target.subresource == "log"):
            raise method_not_allowed()
        return await services[target.subresource](request, pod, self._kubelet)

    async def _get(self, request: web.Request, target: Target) -> web.Response:
        thing = self._find(target)
        if wants_table(request):
            return answer(table(target.kind, [thing], thing["metadata"]["resourceVersion"]))
        return answer(thing)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Return the selected objects, always all of them: `limit` is ignored, as the API allows."""
        if flag(request, "watch"):
            return await serve_watch(request, self._store, target, selection(request, target.kind))
        return self._list_of(request, target, self._select(request, target))

    def _list_of(self, request: web.Request, target: Target, things: list[Json]) -> web.Response:
        version = str(self._store.version)
        if wants_table(request):
            return answer(table(target.kind, things, version))
        head = {"kind": f"{target.kind.name}List", "apiVersion": "v1"}
        return answer({**head, "metadata": {"resourceVersion": version}, "items": things})

    def _select(self, request: web.Request, target: Target) -> list[Json]:
        return list(filter(selection(request, target.kind), self._store.list(target.kind, target.namespace)))

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        kind, thing = target.kind, await self._read(request, target)
        metadata = {name: value for name, value in thing["metadata"].items() if name not in _OWN}
        name = metadata["name"]
        thing["metadata"] = metadata
        if kind.namespaced:
            self._check_namespace(kind, target.namespace, metadata)
        if kind is NAMESPACES:
            thing = new_namespace(thing)
        elif kind is PODS:
            thing["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        if self._store.get(kind, key_of(thing)) is not None:
            details = {"name": name, "kind": kind.plural}
            raise ApiError(409, "AlreadyExists", f'{kind.plural} "{name}" already exists', details)
        if _is_dry_run(request):
            stamp = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            return answer({**thing, "metadata": {**metadata, **stamp}}, 201)
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
            raise ApiError(403, "Forbidden", f'{kind.plural} "{metadata["name"]}" is forbidden: {why}')

    async def _replace(self, request: web.Request, target: Target) -> web.Response:
        old = self._find(target)
        return self._update(request, target, old, await self._read(request, target))

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        patch = json_of(await request.read())
        old = self._find(target)
        new = patched(request.content_type, old, patch)
        return self._update(request, target, old, checked(request, new, target.kind.name))

    def _update(self, request: web.Request, target: Target, old: Json, new: Json) -> web.Response:
        kind, metadata, before = target.kind, new["metadata"], old["metadata"]
        if metadata.get("resourceVersion") not in (None, "", before["resourceVersion"]):
            why = "the object has been modified: apply your changes to the latest version and try again"
            raise conflict(kind.plural, target.name, why)
        fixed = {name: value for name, value in before.items() if name in _FIXED}
        changed = {name: value for name, value in metadata.items() if name not in _FIXED}
        new = {**new, "kind": kind.name, "apiVersion": "v1", "metadata": {**changed, **fixed}}
        if "status" in old:
            new["status"] = old["status"]
        if kind is PODS and new["spec"] != old["spec"]:
            message = "Forbidden: pod updates may not change the spec: delete the pod and create another"
            cause = {"reason": "FieldValueForbidden", "message": message, "field": "spec"}
            raise invalid(kind.name, target.name, [cause])
        return answer(new if _is_dry_run(request) else self._store.update(kind, new))

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await read_delete_options(request)
        thing = self._find(target)
        for name, wanted in options.get("preconditions", {}).items():
            if wanted not in ("", thing["metadata"][name]):
                why = f"the {name} in the precondition ({wanted}) is not the object's"
                raise conflict(target.kind.name, target.name, why)
        if "All" in options["dryRun"]:
            return answer(thing)
        left = delete(self._store, target.kind, thing, options["gracePeriodSeconds"])
        if target.kind in (PODS, NAMESPACES):
            return answer(left)
        details = {"name": target.name, "kind": target.kind.plural, "uid": thing["metadata"]["uid"]}
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        return answer({**head, "status": "Success", "details": details})

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        options = await read_delete_options(request)
        found = self._select(request, target)
        if "All" not in options["dryRun"]:
            grace = options["gracePeriodSeconds"]
            found = [delete(self._store, target.kind, thing, grace) for thing in found]
        return self._list_of(request, target, found)

    def _find(self, target: Target) -> Json:
        thing = self._store.get(target.kind, target.key)
        if thing is None:
            raise not_found(target.kind.plural, target.name)
        return thing

    async def _read(self, request: web.Request, target: Target) -> Json:
        """Return the object in the body, of the kind and name that the path says."""
        thing = await read_object(request, target.kind.name)
        kind, version = thing.get("kind") or target.kind.name, thing.get("apiVersion") or "v1"
        if (kind, version) != (target.kind.name, "v1"):
            raise bad_request(f'{kind} in version "{version}" cannot be handled as a {target.kind.name}')
        if target.name and thing["metadata"]["name"] != target.name:
            raise bad_request(f"the name of the object does not match the name on the URL ({target.name})")
        return thing


def _is_dry_run(request: web.Request) -> bool:
    """Return whether the request only asks what would happen."""
    return request.query.get("dryRun") == "All"

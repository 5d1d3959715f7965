"""The verbs of core/v1 over the store: create, get, list, watch, patch, update, delete, one or many."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from scripts.kube.bodies import checked, json_of, patched, read_delete_options, read_object
from scripts.kube.execs import serve_exec
from scripts.kube.kubelet import Kubelet
from scripts.kube.lists import encode_list, find_page, serve_list
from scripts.kube.logs import serve_log
from scripts.kube.objects import EVENTS, NAMESPACES, PODS, SECRETS, Json, Kind, key_of, now, timestamp
from scripts.kube.pods import FINAL
from scripts.kube.requests import (
    ApiError,
    Target,
    answer,
    bad_request,
    conflict,
    flag,
    forbidden_field,
    method_not_allowed,
    no_such_resource,
    not_found,
    selection,
    target_of,
)
from scripts.kube.store import Store
from scripts.kube.tables import table, wants_table
from scripts.kube.watches import serve_watch

_Handler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]

_OWN = {"uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"}
_OWN |= {"generation", "selfLink", "managedFields"}
"""The parts of an object's metadata that only the server sets."""
_FIXED = _OWN | {"name", "namespace", "generateName"}
"""The parts of an object's metadata that clients cannot change."""
_ACTIVE = {"phase": "Active"}
"""The status of every namespace."""
_AT_ONCE = 100
"""How many objects of a collection are deleted before other requests are served."""
_LONGEST = 2**31 - 1
"""The most seconds of grace: longer periods exceed the calendar."""


class Api:
    """Everything under /api/v1."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store = store
        self._kubelet = kubelet
        if store.get(NAMESPACES, ("", "default")) is None:
            store.create(NAMESPACES, {"metadata": {"name": "default"}, "status": _ACTIVE})
        self._objects: dict[str, tuple[str, _Handler]] = {
            "GET": ("get", self._get),
            "PUT": ("update", self._replace),
            "PATCH": ("patch", self._patch),
            "DELETE": ("delete", self._delete),
        }
        self._collections: dict[str, tuple[str, _Handler]] = {
            "GET": ("list", self._list),
            "POST": ("create", self._create),
            "DELETE": ("deletecollection", self._delete_all),
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
        return answer(table(target.kind, [thing]) if wants_table(request) else thing)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        selects = selection(request, target.kind)
        if flag(request, "watch"):
            return await serve_watch(request, self._store, target, selects)
        return serve_list(request, self._store, target, selects)

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        kind, thing = target.kind, await self._read(request, target)
        metadata = {name: value for name, value in thing["metadata"].items() if name not in _OWN}
        thing["metadata"] = metadata
        if kind.namespaced:
            self._set_namespace(target.namespace, metadata)
        if kind is NAMESPACES:
            thing["status"] = _ACTIVE
        elif kind is PODS:
            thing["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        if self._store.get(kind, key_of(thing)) is not None:
            details = {"name": metadata["name"], "kind": kind.plural}
            message = f'{kind.plural} "{metadata["name"]}" already exists'
            raise ApiError(409, "AlreadyExists", message, details)
        if request.query.get("dryRun") == "All":
            stamp = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            return answer({**thing, "metadata": {**metadata, **stamp}}, 201)
        return answer(self._store.create(kind, thing), 201)

    def _set_namespace(self, name: str, metadata: Json) -> None:
        """Complete a new object's metadata; raise ApiError unless it can be created in the namespace."""
        if not name:
            raise method_not_allowed()
        if metadata.setdefault("namespace", name) != name:
            raise bad_request("the namespace of the provided object does not match the one of the request")
        if self._store.get(NAMESPACES, ("", name)) is None:
            raise not_found("namespaces", name)

    async def _replace(self, request: web.Request, target: Target) -> web.Response:
        new = await self._read(request, target)
        return self._update(request, target, self._find(target), new)

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
            why = "pod updates may not change the spec: delete the pod and create another"
            raise forbidden_field(kind.name, target.name, "spec", why)
        return answer(new if request.query.get("dryRun") == "All" else self._store.update(kind, new))

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await read_delete_options(request)
        thing = self._find(target)
        left = self._remove(target.kind, thing, options)
        if left is not None:
            return answer(left)
        details = {"name": target.name, "kind": target.kind.plural, "uid": thing["metadata"]["uid"]}
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        return answer({**head, "status": "Success", "details": details})

    async def _delete_all(self, request: web.Request, target: Target) -> web.Response:
        """Delete the selected objects of a namespace one by one; return them as they were before."""
        if not target.namespace:
            raise method_not_allowed()
        kind, selects = target.kind, selection(request, target.kind)
        options = await read_delete_options(request)
        things, metadata = find_page(request, self._store, target, selects)
        deleted = []
        for number, thing in enumerate(things):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # other requests are served between
            current = self._store.get(kind, key_of(thing))
            if current is not None and current["metadata"]["uid"] == thing["metadata"]["uid"]:
                deleted.append(self._store.encoded(kind, current))
                self._remove(kind, current, options)
        return web.Response(body=encode_list(kind, metadata, deleted), content_type="application/json")

    def _remove(self, kind: Kind, thing: Json, options: Json) -> Json | None:
        """Delete an object; return what is left of it, None if nothing is; raise ApiError (409)."""
        name = thing["metadata"]["name"]
        for field, wanted in options.get("preconditions", {}).items():
            if wanted not in ("", thing["metadata"][field]):
                why = f"the {field} in the precondition ({wanted}) is not the object's"
                raise conflict(kind.plural, name, why)
        if "All" in options["dryRun"]:
            return thing
        if kind is PODS:
            return self._delete_pod(thing, options["gracePeriodSeconds"])
        if kind is NAMESPACES:
            for inner in (PODS, SECRETS, EVENTS):
                for each in self._store.list(inner, name):
                    self._store.delete(inner, key_of(each))
        self._store.delete(kind, key_of(thing))
        return None

    def _delete_pod(self, pod: Json, grace: int | None) -> Json:
        """Delete a pod, at once unless it runs; return it.

        A pod that runs gets a deadline, which a later request may only shorten. The kubelet deletes it.
        """
        period: int = pod["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        if "nodeName" not in pod["spec"] or pod["status"]["phase"] in FINAL:
            period = 0
        running_out = pod["metadata"].get("deletionGracePeriodSeconds")
        if running_out is not None and 0 < running_out <= period:
            return pod
        period = min(max(period, 0), _LONGEST)
        deadline = timestamp(datetime.now(UTC) + timedelta(seconds=period))
        leaving = {"deletionTimestamp": deadline, "deletionGracePeriodSeconds": period}
        pod = {**pod, "metadata": {**pod["metadata"], **leaving}}
        if period:
            return self._store.update(PODS, pod)
        self._store.delete(PODS, key_of(pod))
        return pod

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

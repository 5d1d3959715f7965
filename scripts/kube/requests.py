"""Reading requests and answering them: targets, parameters, bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from scripts.kube import protobufs
from scripts.kube.errors import bad_request, no_such_resource, unsupported_media_type
from scripts.kube.kinds import KINDS, Kind
from scripts.kube.objects import Json, Key, encode
from scripts.kube.validation import validated

_JSON = "application/json"


@dataclass(frozen=True)
class Target:
    """What a path under /api/v1 names: an object, or with name "" a collection, of all namespaces with ""."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """The object's key in the store."""
        return self.namespace, self.name


def target_of(path: str) -> Target:
    """Return the target of a path such as `namespaces/a/pods/b/log`; raise ApiError (404)."""
    parts = path.strip("/").split("/")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    kind = KINDS.get(parts[0])
    if kind is None or len(parts) > 3 or (namespace and not kind.namespaced):
        raise no_such_resource()
    if kind.namespaced and not namespace and len(parts) > 1:
        raise no_such_resource()
    return Target(kind, namespace, *([*parts[1:], "", ""][:2]))


def flag(request: web.Request, name: str) -> bool:
    """Return a boolean parameter, False if it is absent."""
    return request.query.get(name, "").lower() in ("1", "true")


def number(request: web.Request, name: str) -> int | None:
    """Return a whole number of 64 bits among the parameters, None if it is absent; raise ApiError (400)."""
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        value = 2**63
    if not -(2**63) <= value < 2**63:
        raise bad_request(f'{name}: Invalid value: "{text[:20]}": must be a whole number of 64 bits')
    return value


async def body_of(request: web.Request, kind: str) -> Json:
    """Return the object of that kind in the body; raise ApiError (400, 415, 422)."""
    data = await request.read()
    if request.content_type == protobufs.MEDIA_TYPE and kind in protobufs.KINDS:
        try:
            thing: Any = protobufs.decode(data, kind)
        except ValueError:  # its text may quote a Secret
            raise bad_request("the object provided is unrecognized: it is damaged protobuf") from None
    elif request.content_type in (_JSON, "application/octet-stream"):
        thing = json_of(data)
    else:
        raise unsupported_media_type((_JSON,))
    return checked(request, thing, kind)


async def delete_options_of(request: web.Request) -> Json:
    """Return the options of a deletion, from its body and its parameters; raise ApiError (400, 415)."""
    given = await body_of(request, "DeleteOptions") if (await request.read()).strip() else {}
    asked = {
        "dryRun": request.query.getall("dryRun", []),
        "gracePeriodSeconds": number(request, "gracePeriodSeconds"),
    }
    return {**asked, **given}


def checked(request: web.Request, thing: Any, kind: str) -> Json:
    """Return the object with its defaults, as strict as the request asks; raise ApiError (400, 422)."""
    return validated(kind, thing, strict=request.query.get("fieldValidation") == "Strict")


def answer(thing: Json, code: int = 200) -> web.Response:
    """Return an object as a response."""
    return web.Response(body=encode(thing), status=code, content_type=_JSON)


def json_of(data: bytes) -> Any:
    """Return the JSON value; raise ApiError (400), which names the place and quotes nothing."""
    try:
        thing = json.loads(data.decode())
        encode(thing)
    except json.JSONDecodeError as problem:
        raise bad_request(f"the object provided is unrecognized: it is not JSON: {problem}") from None
    except ValueError:
        why = "it has bytes that are not UTF-8, half a surrogate pair, or a number that JSON does not have"
        raise bad_request(f"the object provided is unrecognized: {why}") from None
    return thing

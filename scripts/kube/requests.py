"""Reading requests and answering them: targets, parameters, bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from scripts.kube import protobufs, schema
from scripts.kube.errors import bad_request, no_such_resource, unreadable, unsupported_media_type
from scripts.kube.kinds import KINDS, Kind
from scripts.kube.objects import Json, Key, encode

_JSON = "application/json"
_MOST_WARNINGS = 10
WARNINGS = web.RequestKey("warnings", list[str])
"""What the answer's Warning headers tell of a request."""


@dataclass(frozen=True)
class Target:
    """What a path under /api/v1 speaks of; name "" is the collection, namespace "" all of them."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """The object's key in the store."""
        return self.namespace, self.name


def target_of(path: str) -> Target:
    """Reads a path such as `namespaces/a/pods/b/log`; raises ApiError (404) for one that is not served."""
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
    """A boolean parameter, false when it is absent."""
    return request.query.get(name, "").lower() in ("1", "true")


def number(request: web.Request, name: str) -> int | None:
    """A whole number among the parameters, None when it is absent."""
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError as problem:
        raise bad_request(f'{name}: Invalid value: "{text}": must be a whole number') from problem
    if not -(2**63) <= value < 2**63:
        raise bad_request(f"{name}: Invalid value: must be a whole number of 64 bits")
    return value


async def body_of(request: web.Request, type_: str) -> Json:
    """Return the object in the body, of that type, {} when there is none; raise ApiError (400, 415)."""
    data = await request.read()
    if not data.strip():
        return {}
    if request.content_type == protobufs.MEDIA_TYPE and protobufs.reads(type_):
        try:
            return checked(request, protobufs.decode(data, type_), type_)
        except ValueError as problem:
            raise bad_request(f"the object provided is unrecognized: {problem}") from None
    if request.content_type not in (_JSON, "application/octet-stream"):
        raise unsupported_media_type((_JSON,))
    return checked(request, _parse(data), type_)


async def patch_of(request: web.Request) -> Any:
    """Return the patch in the body; raise ApiError (400)."""
    return _parse(await request.read())


def checked(request: web.Request, thing: Any, type_: str) -> Json:
    """Return the object as its type has it; raise ApiError (400) for a value of a wrong type.

    What becomes of fields that the type does not have is the request's `fieldValidation`: they are refused
    with Strict, left out with Ignore, and left out with a warning otherwise.
    """
    kind, unknown = type_.removeprefix("V1"), list[str]()
    try:
        known: Json = schema.decode(thing, type_, "", unknown)
    except schema.TypeMismatch as problem:
        raise unreadable(kind, str(problem)) from None
    told = [f'unknown field "{path}"' for path in unknown[:_MOST_WARNINGS]]
    validation = request.query.get("fieldValidation") or "Warn"
    if validation not in ("Ignore", "Warn", "Strict"):
        raise bad_request(f'fieldValidation: Unsupported value: "{validation}"')
    if told and validation == "Strict":
        raise unreadable(kind, f"strict decoding error: {', '.join(told)}")
    if validation == "Warn":
        request[WARNINGS] = told
    return known


def answer(thing: Json, code: int = 200) -> web.Response:
    """An object as a response."""
    return web.Response(body=encode(thing), status=code, content_type="application/json")


def _parse(data: bytes) -> Any:
    """Return what the JSON says; the refusal of what is no JSON names the place and quotes nothing."""
    try:
        thing = json.loads(data.decode())
        encode(thing)
    except json.JSONDecodeError as problem:
        raise bad_request(f"the object provided is unrecognized: it is no JSON: {problem}") from None
    except ValueError:
        why = "it holds bytes that are no UTF-8, half a surrogate pair, or a number that JSON does not have"
        raise bad_request(f"the object provided is unrecognized: {why}") from None
    return thing

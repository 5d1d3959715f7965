"""Reading requests and answering them: targets, parameters, bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from .kinds import KINDS, Kind
from .objects import Json, Key, encode
from .status import bad_request, no_such_resource, unsupported_media_type

_BODIES = ("application/json", "application/yaml")


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
        return int(text)
    except ValueError as problem:
        raise bad_request(f'{name}: Invalid value: "{text}": must be a whole number') from problem


async def body_of(request: web.Request) -> Json:
    """The object in the body, {} when there is none; raises ApiError (400, 415)."""
    text = await request.text()
    if not text.strip():
        return {}
    media_type = request.content_type
    if media_type not in (*_BODIES, "application/octet-stream"):
        raise unsupported_media_type(_BODIES)
    thing = _parse(text, yaml_too=media_type == "application/yaml")
    if not isinstance(thing, dict):
        raise bad_request("the body of the request must be an object")
    return thing


async def patch_of(request: web.Request) -> Any:
    """The patch in the body."""
    return _parse(await request.text(), yaml_too=False)


def answer(thing: Json, code: int = 200) -> web.Response:
    """An object as a response."""
    return web.Response(body=encode(thing), status=code, content_type="application/json")


def _parse(text: str, *, yaml_too: bool) -> Any:
    try:
        return yaml.safe_load(text) if yaml_too else json.loads(text)
    except (ValueError, yaml.YAMLError) as problem:
        raise bad_request(f"the object provided is unrecognized: {problem}") from problem

"""What a request names in its path and parameters, and the answer to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from scripts.kube.errors import bad_request, no_such_resource
from scripts.kube.kinds import KINDS, Kind
from scripts.kube.objects import Json, Key, dig, encode

Predicate = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9](?:[\w./-]*[A-Za-z0-9])?"
_EQUALITY = re.compile(rf"({_NAME})\s*(==|=|!=)\s*([\w.-]*)")
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_NAME})")
_COMMA_OUTSIDE_SETS = re.compile(r",(?![^()]*\))")


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


def selection(request: web.Request, kind: Kind) -> Predicate:
    """Return the label and the field selector as one predicate; raise ApiError (400)."""
    labels, fields = (request.query.get(f"{what}Selector", "") for what in ("label", "field"))
    tests = [_label_test(part.strip()) for part in _COMMA_OUTSIDE_SETS.split(labels) if labels.strip()]
    tests += [_field_test(kind, part) for part in fields.split(",") if part]
    return lambda thing: all(test(thing) for test in tests)


def answer(thing: Json, code: int = 200) -> web.Response:
    """Return an object as a response."""
    return web.Response(body=encode(thing), status=code, content_type="application/json")


def _label_test(text: str) -> Predicate:
    if match := _EQUALITY.fullmatch(text):
        name, operator, value = match.groups()
        return _is_member(name, {value}, wanted=operator != "!=")
    if match := _SET.fullmatch(text):
        name, operator, values = match.groups()
        return _is_member(name, {value.strip() for value in values.split(",")}, wanted=operator == "in")
    if match := _EXISTENCE.fullmatch(text):
        absent, name = match.groups()
        return lambda thing: (name in _labels(thing)) != bool(absent)
    raise bad_request(
        f"unable to parse requirement: {text!r} is none of: a=b, a!=b, a in (b,c), a notin (b,c), a, !a"
    )


def _is_member(name: str, members: set[str], *, wanted: bool) -> Predicate:
    # An object without the label is in no set, so `!=` and `notin` hold for it.
    return lambda thing: (_labels(thing).get(name) in members) == wanted


def _labels(thing: Json) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def _field_test(kind: Kind, text: str) -> Predicate:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", text)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, operator, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace", *kind.fields):
        raise bad_request(f"field label not supported: {path}")
    wanted = operator != "!="
    return lambda thing: ((dig(thing, path) or "") == value) == wanted

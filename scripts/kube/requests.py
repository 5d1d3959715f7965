"""What a request names in its path and parameters, and the answers to it, errors included.

Every error is a `Status` object with a code and a reason, as Kubernetes clients expect.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from scripts.kube.objects import KINDS, Json, Key, Kind, dig, encode

Predicate = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9](?:[\w./-]*[A-Za-z0-9])?"
_EQUALITY = re.compile(rf"({_NAME})\s*(==|=|!=)\s*([\w.-]*)")
_MEMBERSHIP = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([\w.,\s-]*)\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_NAME})")
_COMMA = re.compile(r",(?![^(]*\))")
"""A comma between requirements, not one between the values in parentheses."""


class ApiError(Exception):
    """A refused request; `body` is the Status object that explains it."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        status = {"status": "Failure", "message": message, "reason": reason, "details": details or {}}
        self.body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status, "code": code}


def bad_request(message: str) -> ApiError:
    """Return an error: the request makes no sense as it stands."""
    return ApiError(400, "BadRequest", message)


def not_found(plural: str, name: str) -> ApiError:
    """Return an error: the object does not exist."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def no_such_resource() -> ApiError:
    """Return an error: nothing is served at this path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    """Return an error: the path exists, but not for this method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def conflict(plural: str, name: str, why: str) -> ApiError:
    """Return an error: the object has another version or identity than the request expects."""
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def invalid(kind: str, name: str, causes: list[Json]) -> ApiError:
    """Return an error: the object breaks rules; each cause has `reason`, `message` and `field`."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {"name": name, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {summary}', details)


def forbidden_field(kind: str, name: str, field: str, why: str) -> ApiError:
    """Return an error: the request gives a field that it must not give."""
    cause = {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": field}
    return invalid(kind, name, [cause])


def log_failure(what: str, problem: Exception) -> None:
    """Write to the log what failed and where, without the error's text, which may quote a Secret."""
    print(f"{what} failed with {type(problem).__name__}:", file=sys.stderr)
    traceback.print_tb(problem.__traceback__)


def answer(thing: Json, code: int = 200) -> web.Response:
    """Return an object as a response."""
    return web.Response(body=encode(thing), status=code, content_type="application/json")


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
    """Return a whole number among the parameters, None if absent; raise ApiError (400)."""
    text = request.query.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise bad_request(f'{name}: Invalid value: "{text[:20]}": must be a number of at most 18 digits')
    return int(text)


def selection(request: web.Request, kind: Kind) -> Predicate:
    """Return the label and the field selector as one predicate; raise ApiError (400)."""
    labels, fields = (request.query.get(f"{what}Selector", "") for what in ("label", "field"))
    tests = [_label_test(part.strip()) for part in _COMMA.split(labels) if labels.strip()]
    tests += [_field_test(kind, part) for part in fields.split(",") if part]
    return lambda thing: all(test(thing) for test in tests)


def _label_test(text: str) -> Predicate:
    if match := _EQUALITY.fullmatch(text):
        name, operator, value = match.groups()
        # An object without the label differs from every value, so `!=` holds for it.
        return lambda thing: (_labels(thing).get(name) == value) == (operator != "!=")
    if match := _MEMBERSHIP.fullmatch(text):
        name, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        # An object without the label is in no set, so `notin` holds for it.
        return lambda thing: (_labels(thing).get(name) in values) == (operator == "in")
    if match := _EXISTENCE.fullmatch(text):
        absent, name = match.groups()
        return lambda thing: (name in _labels(thing)) != bool(absent)
    raise bad_request(
        f"unable to parse requirement: {text!r} is none of: a=b, a!=b, a, !a, a in (b,c), a notin (b,c)"
    )


def _labels(thing: Json) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def _field_test(kind: Kind, text: str) -> Predicate:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", text)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, operator, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace", *kind.fields):
        raise bad_request(f"field label not supported: {path}")
    return lambda thing: ((dig(thing, path) or "") == value) == (operator != "!=")

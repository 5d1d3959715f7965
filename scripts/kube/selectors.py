"""Label and field selectors, parsed once into a predicate over objects."""

from __future__ import annotations

import re
from collections.abc import Callable

from scripts.kube.errors import bad_request
from scripts.kube.kinds import Kind
from scripts.kube.objects import Json, dig

Predicate = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9](?:[\w./-]*[A-Za-z0-9])?"
_EQUALITY = re.compile(rf"({_NAME})\s*(==|=|!=)\s*([\w.-]*)")
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_NAME})")
_COMMA_OUTSIDE_SETS = re.compile(r",(?![^()]*\))")


def parse(kind: Kind, labels: str, fields: str) -> Predicate:
    """Return both selectors of a request as one predicate; raise ApiError (400) for an unreadable one."""
    tests = [_label_test(part.strip()) for part in _COMMA_OUTSIDE_SETS.split(labels) if labels.strip()]
    tests += [_field_test(kind, part) for part in fields.split(",") if part]
    return lambda thing: all(test(thing) for test in tests)


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

"""Label and field selectors, parsed once into a predicate over objects."""

from __future__ import annotations

import re
from collections.abc import Callable

from scripts.kube.errors import bad_request
from scripts.kube.kinds import Kind
from scripts.kube.objects import Json, dig

Predicate = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9](?:[\w./-]*[A-Za-z0-9])?"
_VALUE = r"[\w.-]*"
_EQUALITY = re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_NAME})")
_COMMA_OUTSIDE_SETS = re.compile(r",(?![^()]*\))")


def anything(_thing: Json) -> bool:
    """The predicate of an empty selector."""
    return True


def parse(kind: Kind, labels: str, fields: str) -> Predicate:
    """Both selectors of a request as one predicate; refuses what it cannot read (400)."""
    tests = [*_label_tests(labels), *_field_tests(kind, fields)]
    if not tests:
        return anything
    if len(tests) == 1:
        return tests[0]
    return lambda thing: all(test(thing) for test in tests)


def _label_tests(selector: str) -> list[Predicate]:
    parts = _COMMA_OUTSIDE_SETS.split(selector) if selector.strip() else []
    return [_label_test(part.strip()) for part in parts]


def _label_test(text: str) -> Predicate:
    if match := _EQUALITY.fullmatch(text):
        name, operator, value = match.groups()
        return _membership(name, frozenset([value]), wanted=operator != "!=")
    if match := _SET.fullmatch(text):
        name, operator, values = match.groups()
        members = frozenset(value.strip() for value in values.split(","))
        return _membership(name, members, wanted=operator == "in")
    if match := _EXISTENCE.fullmatch(text):
        absent, name = match.groups()
        return lambda thing: (name in _labels(thing)) != bool(absent)
    raise bad_request(
        f"unable to parse requirement: {text!r} is none of: a=b, a!=b, a in (b,c), a notin (b,c), a, !a"
    )


def _membership(name: str, members: frozenset[str], *, wanted: bool) -> Predicate:
    # An object without the label is not in any set, so that `!=` and `notin` hold for it.
    return lambda thing: (_labels(thing).get(name) in members) == wanted


def _labels(thing: Json) -> dict[str, str]:
    labels: dict[str, str] | None = thing["metadata"].get("labels")
    return labels or {}


def _field_tests(kind: Kind, selector: str) -> list[Predicate]:
    return [_field_test(kind, part) for part in selector.split(",") if part]


def _field_test(kind: Kind, text: str) -> Predicate:
    match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", text)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, operator, value = match.groups()
    if path not in kind.selectable:
        raise bad_request(f"field label not supported: {path}")
    if kind.plural == "events" and path == "source":
        path = "source.component"
    wanted = operator != "!="
    return lambda thing: ((dig(thing, path) or "") == value) == wanted

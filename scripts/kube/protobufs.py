"""Protobuf bodies of the two kinds that kubectl's `create` sends so: namespaces and secrets."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from scripts.kube.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_SKIP = ("", "")
_TYPES: dict[str, dict[int, tuple[str, str]]] = {
    "TypeMeta": {1: ("apiVersion", "text"), 2: ("kind", "text")},
    "V1Namespace": {1: ("metadata", "ObjectMeta"), 2: _SKIP, 3: _SKIP},
    "V1Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "map of bytes"),
        3: ("type", "text"),
        4: ("stringData", "map"),
        5: ("immutable", "flag"),
    },
    "ObjectMeta": {
        **dict.fromkeys((4, 5, 7, 8, 9, 10, 17), _SKIP),  # the server's own, as identity and times
        1: ("name", "text"),
        2: ("generateName", "text"),
        3: ("namespace", "text"),
        6: ("resourceVersion", "text"),
        11: ("labels", "map"),
        12: ("annotations", "map"),
    },
}
"""The fields of each message: their numbers, their names in JSON, and what they hold."""


def reads(type_: str) -> bool:
    """Whether bodies of that type are read."""
    return type_ in _TYPES


def decode(data: bytes, type_: str) -> Json:
    """Return the object in the body as it is in JSON; raise ValueError where it cannot be read."""
    if not data.startswith(_MAGIC):
        raise ValueError("it does not begin as a Kubernetes object does")
    envelope = dict(_fields(data[len(_MAGIC) :]))
    return {**_message(_bytes(envelope.get(1)), "TypeMeta"), **_message(_bytes(envelope.get(2)), type_)}


def _message(data: bytes, type_: str) -> Json:
    found: Json = {}
    for number, value in _fields(data):
        if number not in _TYPES[type_]:
            raise ValueError(f"field {number} of {type_} is read from JSON only")
        name, holds = _TYPES[type_][number]
        if holds == "flag":
            found[name] = bool(value)
        elif holds.startswith("map"):
            entry = dict(_fields(_bytes(value)))
            content = _value(_bytes(entry.get(2)), holds.removeprefix("map of "))
            found.setdefault(name, {})[_bytes(entry.get(1)).decode()] = content
        elif value and name:
            found[name] = _value(_bytes(value), holds)
    return found


def _value(data: bytes, holds: str) -> str | Json:
    if holds == "bytes":
        return base64.b64encode(data).decode()
    return _message(data, holds) if holds in _TYPES else data.decode()


def _bytes(value: int | bytes | None) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where something longer is expected")
    return value or b""


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbered values of a message: numbers, and what has a length."""
    position = 0
    while position < len(data):
        key, position = _number(data, position)
        value, position = _number(data, position)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and position + value <= len(data):
            yield key >> 3, data[position : position + value]
            position += value
        else:
            raise ValueError("it is cut off or damaged")


def _number(data: bytes, position: int) -> tuple[int, int]:
    """The variable-length number at a position, and the position after it."""
    number = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ValueError("it is cut off or damaged")

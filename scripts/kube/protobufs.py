"""Protobuf bodies of namespaces and Secrets.

Newer kubectl's `create namespace` and `create secret` send nothing else, not even after a refusal with 415.
"""

from __future__ import annotations

import base64
from collections import defaultdict

from scripts.kube.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
KINDS = ("Namespace", "Secret")
_MAGIC = b"k8s\x00"
_Fields = dict[int, list[bytes]]
"""The contents of a message's fields by number, every one that has a length."""


def decode(data: bytes, kind: str) -> Json:
    """Return the namespace or Secret in the body as it is in JSON; raise ValueError if it is unreadable.

    Read are the fields that clients set; others, such as a creation time, belong to the server.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("it does not begin as a Kubernetes object does")
    envelope = _fields(data[len(_MAGIC) :])
    type_, body = _fields(_last(envelope, 1)), _fields(_last(envelope, 2))
    metadata = _fields(_last(body, 1))
    names = {"name": 1, "generateName": 2, "namespace": 3}
    given = {name: text for name, number in names.items() if (text := _last(metadata, number).decode())}
    labels = {"labels": _texts(metadata, 11), "annotations": _texts(metadata, 12)}
    thing: Json = {
        "apiVersion": _last(type_, 1).decode(),
        "kind": _last(type_, 2).decode(),
        "metadata": {**given, **labels},
    }
    if kind == "Secret":
        thing["data"] = {name: base64.b64encode(value).decode() for name, value in _map(body, 2).items()}
        thing["stringData"] = _texts(body, 4)
        if secret_type := _last(body, 3).decode():
            thing["type"] = secret_type
    return thing


def _last(fields: _Fields, number: int) -> bytes:
    return fields[number][-1] if number in fields else b""


def _map(fields: _Fields, number: int) -> dict[str, bytes]:
    entries = map(_fields, fields.get(number, []))
    return {_last(entry, 1).decode(): _last(entry, 2) for entry in entries}


def _texts(fields: _Fields, number: int) -> dict[str, str]:
    return {name: value.decode() for name, value in _map(fields, number).items()}


def _fields(data: bytes) -> _Fields:
    found: _Fields = defaultdict(list)
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        length, position = _varint(data, position)
        if key & 7 == 2 and position + length <= len(data):
            found[key >> 3].append(data[position : position + length])
            position += length
        elif key & 7:  # 0 is a number, which is read already
            raise ValueError("it is cut off or damaged")
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the variable-length number at a position, and the position after it."""
    number = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ValueError("it is cut off or damaged")

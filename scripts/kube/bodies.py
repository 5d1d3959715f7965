"""Request bodies: JSON, patches, and protobuf of namespaces and Secrets."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import Any

from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException

from scripts.kube.errors import ApiError, bad_request, unsupported_media_type
from scripts.kube.objects import Json, encode
from scripts.kube.requests import number
from scripts.kube.validation import validated

_JSON = "application/json"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_PROTOBUF_KINDS = ("Namespace", "Secret")
"""Newer kubectl's `create namespace` and `create secret` send nothing else, not even after a 415."""
_PROTOBUF_MAGIC = b"k8s\x00"
_Fields = dict[int, list[bytes]]
"""The contents of a protobuf message's fields by number, every one that has a length."""


async def read_object(request: web.Request, kind: str) -> Json:
    """Return the object of that kind in the body; raise ApiError (400, 415, 422)."""
    data = await request.read()
    if request.content_type == _PROTOBUF and kind in _PROTOBUF_KINDS:
        try:
            thing: Any = _decode_protobuf(data, kind)
        except (ValueError, DecodeError):  # whose text may quote a Secret
            raise bad_request("the object provided is unrecognized: it is damaged protobuf") from None
    elif request.content_type in (_JSON, "application/octet-stream"):
        thing = json_of(data)
    else:
        raise unsupported_media_type((_JSON,))
    return checked(request, thing, kind)


async def read_delete_options(request: web.Request) -> Json:
    """Return the options of a deletion, from its body and its parameters; raise ApiError (400, 415)."""
    given = await read_object(request, "DeleteOptions") if (await request.read()).strip() else {}
    asked = {
        "dryRun": request.query.getall("dryRun", []),
        "gracePeriodSeconds": number(request, "gracePeriodSeconds"),
    }
    return {**asked, **given}


def checked(request: web.Request, thing: Any, kind: str) -> Json:
    """Return the object with its defaults, as strict as the request asks; raise ApiError (400, 422)."""
    return validated(kind, thing, strict=request.query.get("fieldValidation") == "Strict")


def patched(media_type: str, original: Json, patch: Any) -> Any:
    """Return a patched copy of an object; raise ApiError (400, 415, 422).

    A strategic merge patch is applied as a JSON merge patch. That is right for labels, annotations and every
    other map; a list in the patch replaces the list instead of merging into it by key.
    """
    if media_type == _JSON_PATCH:
        try:
            return JsonPatch(patch).apply(original)
        except (JsonPatchException, JsonPointerException):  # their texts quote the object, a Secret maybe
            message = "the JSON patch is not a list of operations, or one of them does not fit the object"
            raise ApiError(422, "Invalid", message) from None
    if media_type not in _MERGE_PATCHES:
        raise unsupported_media_type((_JSON_PATCH, *_MERGE_PATCHES))
    if not isinstance(patch, dict):
        raise bad_request("a merge patch must be a JSON object")
    return _merge(original, patch)


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


def _merge(original: Any, patch: Any) -> Any:
    """Merge as RFC 7386 says: maps merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _decode_protobuf(data: bytes, kind: str) -> Json:
    """Return the namespace or Secret in the body as it is in JSON; raise ValueError or DecodeError.

    Read are the fields that clients set; others, such as a creation time, belong to the server.
    """
    if not data.startswith(_PROTOBUF_MAGIC):
        raise ValueError("it does not begin as a Kubernetes object does")
    envelope = _fields(data[len(_PROTOBUF_MAGIC) :])
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
    for field in UnknownFieldSet(Empty.FromString(data)):
        if isinstance(field.data, bytes):
            found[field.field_number].append(field.data)
    return found

"""The patches that are understood: JSON merge patch, JSON patch, and strategic merge in part.

A strategic merge patch is applied as a JSON merge patch: right for labels, annotations and everything
else that is a map; a list in it replaces the list instead of merging into it by key.
"""

from __future__ import annotations

import copy
from typing import Any

from scripts.kube.errors import ApiError, bad_request, unsupported_media_type
from scripts.kube.objects import Json

_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_JSON = "application/json-patch+json"


def apply(media_type: str, original: Json, patch: Any) -> Json:
    """A patched copy of `original`, which stays as it was."""
    if media_type in (_MERGE, _STRATEGIC):
        if not isinstance(patch, dict):
            raise bad_request("a merge patch must be a JSON object")
        merged: Json = _merge(original, patch)
        return merged
    if media_type == _JSON:
        if not isinstance(patch, list):
            raise bad_request("a JSON patch must be a list of operations")
        return _operate(copy.deepcopy(original), patch)
    raise unsupported_media_type((_JSON, _MERGE, _STRATEGIC))


def _merge(original: Any, patch: Any) -> Any:
    """RFC 7386: maps merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _operate(document: Json, operations: list[Json]) -> Json:
    """RFC 6902, all or nothing."""
    for number, operation in enumerate(operations, start=1):
        try:
            _step(document, operation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            message = f"operation {number} of the JSON patch cannot be applied to the object"
            raise ApiError(422, "Invalid", message) from None
    return document


def _step(document: Json, operation: Json) -> None:
    match operation["op"]:
        case "add":
            _add(document, operation["path"], operation["value"])
        case "replace":
            _remove(document, operation["path"])
            _add(document, operation["path"], operation["value"])
        case "remove":
            _remove(document, operation["path"])
        case "move":
            _add(document, operation["path"], _remove(document, operation["from"]))
        case "copy":
            _add(document, operation["path"], copy.deepcopy(_get(document, operation["from"])))
        case "test":
            if _get(document, operation["path"]) != operation["value"]:
                raise ValueError(f"testing path {operation['path']} failed")
        case other:
            raise ValueError(f"unknown operation {other!r}")


def _parent(document: Any, path: str) -> tuple[Any, Any]:
    """The container a JSON pointer ends in, and the last part as its key or index."""
    *parts, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if isinstance(document, list):
        return document, len(document) if last == "-" else int(last)
    return document, last


def _get(document: Any, path: str) -> Any:
    parent, last = _parent(document, path)
    return parent[last]


def _add(document: Any, path: str, value: Any) -> None:
    parent, last = _parent(document, path)
    if isinstance(parent, list):
        parent.insert(last, value)
    else:
        parent[last] = value


def _remove(document: Any, path: str) -> Any:
    parent, last = _parent(document, path)
    return parent.pop(last)

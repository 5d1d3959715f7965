"""Patches: JSON patch, JSON merge patch, and strategic merge patch in part.

A strategic merge patch is applied as a JSON merge patch. That is right for labels, annotations and every
other map; a list in the patch replaces the list instead of merging into it by key.
"""

from __future__ import annotations

from typing import Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException

from scripts.kube.errors import ApiError, bad_request, unsupported_media_type
from scripts.kube.objects import Json

_MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_JSON = "application/json-patch+json"


def apply(media_type: str, original: Json, patch: Any) -> Any:
    """Return a patched copy of `original`; raise ApiError (400, 415, 422)."""
    if media_type == _JSON:
        try:
            return JsonPatch(patch).apply(original)
        except (JsonPatchException, JsonPointerException):  # their texts quote the object, a Secret maybe
            message = "the JSON patch is not a list of operations, or one of them does not fit the object"
            raise ApiError(422, "Invalid", message) from None
    if media_type not in _MERGE:
        raise unsupported_media_type((_JSON, *_MERGE))
    if not isinstance(patch, dict):
        raise bad_request("a merge patch must be a JSON object")
    return _merge(original, patch)


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

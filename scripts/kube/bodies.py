"""Request bodies: reads JSON, checks it against the kind's model, and applies patches.

An error names the place that is wrong, as Kubernetes does, and quotes no value, which may be a Secret's.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scripts.kube.manifests import DeleteOptions, Namespace, Pod, Secret
from scripts.kube.objects import Json, dig, encode
from scripts.kube.requests import ApiError, bad_request, invalid, number

_JSON = "application/json"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")

_MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model for model in (Pod, Secret, Namespace, DeleteOptions)
}
_REASONS = {
    **dict.fromkeys(("missing", "too_short", "string_too_short"), "Required"),
    **dict.fromkeys(("greater_than_equal", "less_than_equal"), "Invalid"),
    **dict.fromkeys(("string_pattern_mismatch", "string_too_long"), "Invalid"),
    "literal_error": "NotSupported",
    **{reason: reason for reason in ("Invalid", "Forbidden", "NotFound", "Duplicate")},
}
"""The errors that break a rule (422), with their reasons in Kubernetes; all others are wrong types (400)."""


async def read_object(request: web.Request, kind: str) -> Json:
    """Return the object of that kind in the body, with its defaults; raise ApiError (400, 415, 422)."""
    data = await request.read()
    if request.content_type not in (_JSON, "application/octet-stream"):
        raise _unsupported_media_type(_JSON)
    return checked(request, json_of(data), kind)


async def read_delete_options(request: web.Request) -> Json:
    """Return the options of a deletion, from its body and its parameters; raise ApiError (400, 415)."""
    given = await read_object(request, "DeleteOptions") if (await request.read()).strip() else {}
    asked = {
        "dryRun": request.query.getall("dryRun", []),
        "gracePeriodSeconds": number(request, "gracePeriodSeconds"),
    }
    return {**asked, **given}


def json_of(data: bytes) -> Any:
    """Return the JSON value; raise ApiError (400)."""
    try:
        thing = json.loads(data.decode())
        encode(thing)
    except json.JSONDecodeError as problem:
        raise bad_request(f"the object provided is unrecognized: it is not JSON: {problem}") from None
    except ValueError:
        why = "it has bytes that are not UTF-8, half a surrogate pair, or a number that JSON does not have"
        raise bad_request(f"the object provided is unrecognized: {why}") from None
    return thing


def checked(request: web.Request, thing: Any, kind: str) -> Json:
    """Return the object with its defaults filled in; raise ApiError (400, 422).

    Fields that Kubernetes does not have are refused if the request asks for that, and left out otherwise.
    """
    strict = request.query.get("fieldValidation") == "Strict"
    try:
        return _MODELS[kind].model_validate(thing, context=strict).model_dump(exclude_none=True)
    except ValidationError as problem:
        name = dig(thing, "metadata.name")
        errors = problem.errors(include_input=False, include_url=False)
        raise _refusal(kind, name if isinstance(name, str) else "", errors) from None
    except ValueError:  # of the dump
        raise bad_request("the object provided is unrecognized: it is nested too deeply") from None


def patched(media_type: str, original: Json, patch: Any) -> Any:
    """Return a patched copy of an object; raise ApiError (400, 415, 422).

    A strategic merge patch is applied as a JSON merge patch. That is right for labels, annotations and every
    other map; a list in the patch replaces the list instead of merging into it by key.
    """
    if media_type == _JSON_PATCH:
        try:
            return JsonPatch(patch).apply(original)
        except (JsonPatchException, JsonPointerException):  # their texts quote the object
            message = "the JSON patch is not a list of operations, or one of them does not fit the object"
            raise ApiError(422, "Invalid", message) from None
    if media_type not in _MERGE_PATCHES:
        raise _unsupported_media_type(_JSON_PATCH, *_MERGE_PATCHES)
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


def _unsupported_media_type(*accepted: str) -> ApiError:
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def _refusal(kind: str, name: str, errors: list[ErrorDetails]) -> ApiError:
    causes, mismatches = [], []
    for error in errors:
        field = _field_of(error)
        if reason := _REASONS.get(error["type"]):
            causes.append({"reason": f"FieldValue{reason}", "message": error["msg"], "field": field})
        elif error["type"] == "unknown":
            mismatches.append(f'strict decoding error: unknown field "{field}"')
        else:
            mismatches.append(f"{field or 'the body'}: {error['msg']}")
    if mismatches:
        why = ", ".join(mismatches[:10])
        return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')
    return invalid(kind, name, causes)


def _field_of(error: ErrorDetails) -> str:
    """Return the path of the field that is wrong, such as spec.containers[0].image."""
    parts = list(error["loc"])
    if parts[-1:] == ["[key]"]:  # the key is the part before
        parts[-2:] = [] if parts[0] == "metadata" else [f"[{parts[-2]}]"]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    path: str = text.replace(".[", "[") + error.get("ctx", {}).get("field", "")
    return path.removeprefix(".")

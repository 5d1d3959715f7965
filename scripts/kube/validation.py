"""Checks what clients write against its model, and words what is wrong as Kubernetes does."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scripts.kube.errors import ApiError, bad_request, invalid, unreadable
from scripts.kube.manifests import DeleteOptions, Namespace, Pod, Secret
from scripts.kube.objects import Json, dig

_MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model for model in (Pod, Secret, Namespace, DeleteOptions)
}
_REASONS = {
    **dict.fromkeys(("missing", "too_short", "string_too_short"), "Required"),
    **dict.fromkeys(("greater_than_equal", "less_than_equal"), "Invalid"),
    "literal_error": "NotSupported",
    **{reason: reason for reason in ("Invalid", "Forbidden", "NotFound", "Duplicate")},
}
"""The errors that break a rule (422), with their reasons in Kubernetes; all others are wrong types (400)."""


def validated(kind: str, thing: Any, *, strict: bool) -> Json:
    """Return the object with its defaults filled in; raise ApiError (400 or 422), which quotes no Secret.

    Fields that Kubernetes does not have are refused if `strict`, and left out otherwise.
    """
    try:
        return _MODELS[kind].model_validate(thing, context=strict).model_dump(exclude_none=True)
    except ValidationError as problem:
        name = dig(thing, "metadata.name")
        errors = problem.errors(include_input=False, include_url=False)
        raise _refusal(kind, name if isinstance(name, str) else "", errors) from None
    except ValueError:  # of the dump
        raise bad_request("the object provided is unrecognized: it is nested too deeply") from None


def _refusal(kind: str, name: str, errors: list[ErrorDetails]) -> ApiError:
    causes, mismatches = [], []
    for error in errors:
        field = _path(error)
        if reason := _REASONS.get(error["type"]):
            causes.append({"reason": f"FieldValue{reason}", "message": error["msg"], "field": field})
        elif error["type"] == "unknown":
            mismatches.append(f'strict decoding error: unknown field "{field}"')
        else:
            mismatches.append(f"{field or 'the body'}: {error['msg']}")
    return unreadable(kind, ", ".join(mismatches[:10])) if mismatches else invalid(kind, name, causes)


def _path(error: ErrorDetails) -> str:
    """Return the path of the field that is wrong, such as spec.containers[0].image."""
    parts = list(error["loc"])
    if parts[:1] == ["metadata"]:
        parts = parts[:2]
    elif parts[-1:] == ["[key]"]:  # the key is the part before
        parts[-2:] = [f"[{parts[-2]}]"]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    path: str = text.replace(".[", "[") + error.get("ctx", {}).get("field", "")
    return path.removeprefix(".")

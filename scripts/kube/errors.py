"""Errors as Kubernetes clients expect them: each is a `Status` object with a code and a reason."""

from __future__ import annotations

import sys
import traceback

from scripts.kube.objects import Json


class ApiError(Exception):
    """A refused request; `body` is the Status object that explains it."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        status = {"status": "Failure", "message": message, "reason": reason, "details": details or {}}
        self.body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status, "code": code}


def bad_request(message: str) -> ApiError:
    """The request makes no sense as it stands."""
    return ApiError(400, "BadRequest", message)


def unreadable(kind: str, why: str) -> ApiError:
    """The body is not an object of that kind; `why` names the field."""
    return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def not_found(plural: str, name: str) -> ApiError:
    """The object does not exist."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def no_such_resource() -> ApiError:
    """Nothing is served at this path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    """The path exists, but not for this method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def conflict(plural: str, name: str, why: str) -> ApiError:
    """The object has another version or identity than the request expects."""
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def unsupported_media_type(accepted: tuple[str, ...]) -> ApiError:
    """The body's Content-Type is not one of those that are read here."""
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(kind: str, name: str, causes: list[Json]) -> ApiError:
    """The object breaks rules; each cause has `reason`, `message` and `field`."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {"name": name, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {summary}', details)


def log_failure(what: str, problem: Exception) -> None:
    """Write to the log what failed and where, without the error's text, which may quote a Secret."""
    print(f"{what} failed with {type(problem).__name__}:", file=sys.stderr)
    traceback.print_tb(problem.__traceback__)

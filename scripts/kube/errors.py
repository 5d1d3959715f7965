"""Errors as clients expect them: every one is a `Status` object with a code and a reason."""

from __future__ import annotations

import sys
import traceback

from scripts.kube.objects import Json


class ApiError(Exception):
    """A refused request; `body` is the Status object that says why."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details or {},
            "code": code,
        }


def bad_request(message: str) -> ApiError:
    """The request makes no sense as it stands."""
    return ApiError(400, "BadRequest", message)


def unreadable(kind: str, why: str) -> ApiError:
    """The body is no object of that kind; `why` names the field."""
    return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def unauthorized() -> ApiError:
    """No token, or a wrong one."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(plural: str, name: str, why: str) -> ApiError:
    """Understood, and refused."""
    message = f'{plural} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, {"name": name, "kind": plural})


def not_found(plural: str, name: str) -> ApiError:
    """There is no such object."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})


def no_such_resource() -> ApiError:
    """There is nothing at this path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    """The path is known, the verb is not served there."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def already_exists(plural: str, name: str) -> ApiError:
    """The name is taken."""
    return ApiError(409, "AlreadyExists", f'{plural} "{name}" already exists', {"name": name, "kind": plural})


def conflict(plural: str, name: str, why: str) -> ApiError:
    """The object is not the one the request speaks of."""
    message = f'Operation cannot be fulfilled on {plural} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": plural})


def expired(asked: int, oldest: int) -> ApiError:
    """The history no longer reaches that far back: list again."""
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def unsupported_media_type(accepted: tuple[str, ...]) -> ApiError:
    """The body's Content-Type is none that is read here."""
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(kind: str, name: str, causes: list[Json]) -> ApiError:
    """The object breaks a rule; each cause names `reason`, `message` and `field`."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    told = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {"name": name, "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {told}', details)


def success(plural: str, name: str, uid: str) -> Json:
    """What a deletion answers that leaves nothing to return."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "kind": plural, "uid": uid},
    }


def log_failure(what: str, problem: Exception) -> None:
    """Write what failed, and where, to the log; not the error's text, which may quote a secret."""
    print(f"{what} failed with {type(problem).__name__}:", file=sys.stderr)
    traceback.print_tb(problem.__traceback__)

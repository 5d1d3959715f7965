"""How a pod can fail: what is tried again, what is not, and the remedy for each known cause.

Three tables hold the causes: `WAITING_REASONS` (why a pod does not start), `TERMINATION_REMEDIES` (why it
ended) and `API_REFUSALS` (why the Kubernetes API rejected a request).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_pods.printable import describe, printable

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiException

    from airflow_pods.manifest import Manifest


class PodFailed(AirflowException):
    """The pod gave no result, and another try may help. The message is printable, whatever the pod wrote."""

    exit_code: int | None = None
    """That of the main container, if it has ended."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class PodRefused(AirflowFailException):
    """The pod gave no result, and another try cannot help. The message is printable as well."""

    exit_code: int | None = None
    """That of the main container, if it has ended."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


LONGEST_RETRY_AFTER = 60.0
"""The most seconds for which the API may ask its client to wait."""


class WaitingReason(NamedTuple):
    """Why a pod does not start."""

    seconds: int
    """How long to wait for the cluster to solve this by itself."""
    remedy: str


_NO_IMAGE = WaitingReason(30, "the image must exist under that name, and the node must be able to pull it")
# Long enough for an autoscaler to add a node, and for a full cluster to finish some of its work.
NO_NODE = WaitingReason(300, "add nodes, run fewer at once, or let the pod ask for what a node has")
"""Why a pod waits that no node has room for."""
_UNKNOWN = WaitingReason(30, "kubectl get events says more")
WAITING_REASONS: dict[str, WaitingReason | None] = {
    "ContainerCreating": None,
    "PodInitializing": None,
    "CreateContainerConfigError": WaitingReason(
        30, "the Secret must be in the pod's namespace and have that key, and the image must not run as root"
    ),
    "CreateContainerError": WaitingReason(30, "correct the image's command or the pod's settings"),
    "ErrImageNeverPull": WaitingReason(
        0, "the image must be on the node, or imagePullPolicy must allow pulling it"
    ),
    "ErrImagePull": _NO_IMAGE,
    "ImagePullBackOff": _NO_IMAGE,
    "RegistryUnavailable": _NO_IMAGE,
    "SignatureValidationFailed": _NO_IMAGE,
    "InvalidImageName": WaitingReason(0, "correct the image's name"),
    "Unschedulable": NO_NODE,
    "SchedulerError": NO_NODE,
    "SchedulingGated": NO_NODE,
}
"""By the reason that a pod or its container gives for waiting; None where the pod is about to start.

The cluster keeps trying by itself, so waiting achieves all that a second pod would.
"""

TERMINATION_REMEDIES = {
    "DeadlineExceeded": "if it never started, kubectl describe pod says what it waited for",
    "Evicted": "free the node of what takes its room, or allow the pod more",
    "OOMKilled": "raise the pod's memory limit, or give it less to do at once",
    "StartError": "the image must have the program that is its entrypoint",
}
"""By the reason that a pod or its container gives for its end."""


def waiting_reason(reason: str) -> WaitingReason | None:
    """Return the row for a reason that a pod or container gives for waiting; None if it is about to start."""
    return WAITING_REASONS.get(reason, _UNKNOWN)


class ApiRefusal(NamedTuple):
    """A way in which the Kubernetes API rejects a request."""

    status: int
    pattern: str
    """What the API's message must match."""
    is_temporary: bool
    remedy: str


# A new quota has no count yet, and a new namespace no service account.
API_REFUSALS = (
    ApiRefusal(403, r"exceeded quota: .*=0(,|$)", False, "raise the quota: it has no room for even one pod"),
    ApiRefusal(
        403,
        "exceeded quota: .*count/pods",
        True,
        "this quota counts finished pods too, and a set keeps its pods until its task succeeds: limit pods "
        "instead of count/pods, raise the quota above the number of pods, or run fewer pods in one task",
    ),
    ApiRefusal(
        403,
        "(exceeded|unknown for) quota: ",
        True,
        "wait for pods to end, raise the quota, or run fewer at once",
    ),
    ApiRefusal(403, "looking up service account", True, "the namespace needs that service account"),
    ApiRefusal(403, "being terminated", False, "wait until the namespace is gone, then create it again"),
    ApiRefusal(
        403,
        "^Forbidden$| cannot ",
        False,
        "the connection's account needs create, get, list, watch, delete and deletecollection on pods there",
    ),
    ApiRefusal(
        403, "", False, "the pod must keep the namespace's rules: its LimitRange, its security standard"
    ),
    ApiRefusal(
        401, "", False, "the connection's credentials are not accepted, nor are fresh ones: correct them"
    ),
    ApiRefusal(404, "", False, "create the namespace first"),
    ApiRefusal(429, "", True, "the API is overloaded: run fewer at once"),
)
"""The first row that matches counts."""


def is_temporary(error: BaseException) -> bool:
    """Return whether a request to the Kubernetes API that failed like this may succeed a little later."""
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    if isinstance(error, ApiException):
        refusal = _refusal(error)
        return error.status >= 500 if refusal is None else refusal.is_temporary
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False
    return isinstance(error, (aiohttp.ClientError, OSError))


def is_full_quota(error: BaseException) -> bool:
    """Return whether the API refused a pod because a quota has no room for it now."""
    from kubernetes_asyncio.client import ApiException

    return isinstance(error, ApiException) and error.status == 403 and "exceeded quota: " in _message(error)


def retry_after(error: BaseException) -> float:
    """Return how many seconds the API asks its client to wait before the next request; 0 if it does not."""
    headers = getattr(error, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return min(float(text), LONGEST_RETRY_AFTER) if text.isdecimal() else 0.0


def api_error(manifest: Manifest, error: ApiException, action: str = "") -> PodFailed | PodRefused:
    """Return the error for a pod whose request the Kubernetes API rejected, with the remedy.

    ``action`` completes "refused … pod NAME", such as ``"to delete the failed"``.
    """
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    refusal = _refusal(error)
    if refusal is not None:
        remedy = refusal.remedy
    elif is_temporary(error):
        remedy = "the API itself is in trouble"
    else:
        remedy = "delete it by hand" if action else "correct the pod's definition"
    pod = f"{action} pod {name} in namespace {namespace}".strip()
    kind = PodFailed if is_temporary(error) else PodRefused
    return kind(f"the Kubernetes API refused {pod}: {error.status} {_message(error)} ({remedy})")


def describe_api_error(error: Exception) -> str:
    """Return the status and message of the API's refusal, or the type and text of any other error."""
    from kubernetes_asyncio.client import ApiException

    return f"{error.status} {_message(error)}" if isinstance(error, ApiException) else describe(error)


def _refusal(error: ApiException) -> ApiRefusal | None:
    message = _message(error)
    rows = (row for row in API_REFUSALS if row.status == error.status and re.search(row.pattern, message))
    return next(rows, None)


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)

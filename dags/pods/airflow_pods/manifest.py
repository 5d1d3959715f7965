"""The manifest of a pod: what the user defines, under what the operator needs, over restricted defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from airflow_pods.definition import MAIN, Definition

Manifest = Any
"""A pod as the Kubernetes API takes it: dicts and lists. Any, as the client's types ask for its classes."""

CREATED_BY = {"app.kubernetes.io/created-by": "airflow-pod-operator"}
"""The label of all pods of this package, by which one watch finds them."""
SELECTOR = ",".join(f"{name}={value}" for name, value in CREATED_BY.items())

ACTIVE_DEADLINE_SECONDS = 600
"""How long a pod may run if nothing else is said."""
RESOURCES = {"cpu": ("10m", "1"), "memory": ("32Mi", "256Mi")}
"""What the main container requests, and its limit, of each resource that the user says nothing of."""
POD_DEFAULTS: dict[str, Any] = {
    "terminationGracePeriodSeconds": 5,
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
}
CONTAINER_SECURITY: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What the ``restricted`` Pod Security Standard asks of each container."""


def manifest_of(
    name: str,
    namespace: str,
    image: str,
    arguments: Sequence[str],
    labels: Mapping[str, str],
    env_vars: Mapping[str, str],
    secret_env_vars: Mapping[str, Sequence[str]],
    active_deadline_seconds: int | None = None,
    pod: Definition | None = None,
    cmds: Sequence[str] = (),
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a pod that meets the ``restricted`` Pod Security Standard, unless ``pod`` says otherwise.

    ``pod`` is what `read_definition` returns. It wins over the defaults of this module, and the other
    parameters win over it; ``image``, ``cmds`` and ``arguments`` only if they are not empty. A field that is
    None in it has no default. ``secret_env_vars`` maps a variable to (Secret's name, key). Commands and
    arguments are passed literally: Kubernetes would expand ``$(NAME)`` in them, so each ``$`` is escaped.
    """
    given = pod or {"metadata": {}, "spec": {"containers": [{}]}}
    metadata, spec = given["metadata"], given["spec"]
    main, *others = spec["containers"]
    plain = [{"name": variable, "value": value} for variable, value in env_vars.items()]
    secret = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}
        for variable, (secret_name, key) in secret_env_vars.items()
    ]
    wanted: dict[str, Any] = {"image": image} if image else {}
    if cmds:
        wanted["command"] = _literal(cmds)
    if arguments or "args" not in main:
        wanted["args"] = _literal(arguments)
    made = {
        **_filled(spec, _pod_defaults(spec)),
        "restartPolicy": "Never",
        "containers": [
            _main_container({**main, **wanted, "env": _variables(main.get("env") or [], plain + secret)}),
            *(_restricted(container) for container in others),
        ],
    }
    if spec.get("initContainers"):
        made["initContainers"] = [_restricted(container) for container in spec["initContainers"]]
    if active_deadline_seconds is not None:
        made["activeDeadlineSeconds"] = active_deadline_seconds
    made.setdefault("activeDeadlineSeconds", ACTIVE_DEADLINE_SECONDS)
    named = {
        **metadata,
        "name": name,
        "namespace": namespace,
        "labels": {**(metadata.get("labels") or {}), **labels, **CREATED_BY},
    }
    if annotations:
        named["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return deepcopy({"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": made})


def _literal(words: Sequence[str]) -> list[str]:
    return [word.replace("$", "$$") for word in words]


def _pod_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    defaults = dict(POD_DEFAULTS)
    if spec.get("serviceAccountName"):
        del defaults["automountServiceAccountToken"]  # a pod has an account of its own to use its rights
    if _runs_as_root(spec):
        defaults["securityContext"] = {**POD_DEFAULTS["securityContext"], "runAsNonRoot": False}
    return defaults


def _main_container(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container that leaves the result: in its termination message, or its log if it fails."""
    made = {"imagePullPolicy": "IfNotPresent", **_restricted(container, readOnlyRootFilesystem=True)}
    made.pop("terminationMessagePath", None)
    return {
        **made,
        "name": MAIN,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(container.get("resources") or {}),
    }


def _restricted(container: Mapping[str, Any], **security_of_its_own: Any) -> dict[str, Any]:
    """Return a container with the security that the standard asks for, where its definition has no other."""
    given = container.get("securityContext") or {}
    defaults: dict[str, Any] = {**CONTAINER_SECURITY, **security_of_its_own}
    added = (given.get("capabilities") or {}).get("add") or []
    if given.get("privileged") or {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(added):
        del defaults["allowPrivilegeEscalation"]  # Kubernetes refuses the contradiction
    if _runs_as_root(container):
        defaults["runAsNonRoot"] = False
    return _filled(container, {"securityContext": defaults})


def _runs_as_root(holder: Mapping[str, Any]) -> bool:
    return (holder.get("securityContext") or {}).get("runAsUser") == 0


def _resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resources with a default for each that neither requests nor limits name.

    A request alone has no default limit: that might be lower.
    """
    requests, limits = given.get("requests") or {}, given.get("limits") or {}
    missing = {name: both for name, both in RESOURCES.items() if name not in {*requests, *limits}}
    return {
        **given,
        "requests": _filled(requests, {name: request for name, (request, _) in missing.items()}),
        "limits": _filled(limits, {name: limit for name, (_, limit) in missing.items()}),
    }


def _variables(given: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    """Return the variables with more of them, which replace those of the same name."""
    names = {variable["name"] for variable in more}
    return [*(variable for variable in given if variable["name"] not in names), *more]


def _filled(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is given with defaults for what it lacks, at every depth, without what is None."""
    filled = {**defaults, **given}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(given.get(name), dict):
            filled[name] = _filled(given[name], default)
    return {name: value for name, value in filled.items() if value is not None}

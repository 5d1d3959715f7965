"""The manifest of a pod: one restricted container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Manifest = Any
"""A pod as the Kubernetes API takes it: dicts and lists. Any, as the client's types ask for its classes."""

MAIN = "main"
"""The name of our container. A cluster may add others to the pod, such as a service mesh's."""


CREATED_BY = {"app.kubernetes.io/created-by": "airflow-pod-operator"}
"""The label of all pods of this package, by which one watch finds them."""
SELECTOR = ",".join(f"{name}={value}" for name, value in CREATED_BY.items())


def manifest_of(
    name: str,
    namespace: str,
    image: str,
    arguments: Sequence[str],
    labels: Mapping[str, str],
    env_vars: Mapping[str, str],
    secret_env_vars: Mapping[str, Sequence[str]],
    active_deadline_seconds: int,
) -> Manifest:
    """Return a pod with one container that meets the ``restricted`` Pod Security Standard.

    ``secret_env_vars`` maps a variable to (Secret's name, key). The arguments are passed literally:
    Kubernetes would expand ``$(NAME)`` in them, so each ``$`` is escaped as ``$$``.
    """
    plain = [{"name": variable, "value": value} for variable, value in env_vars.items()]
    secret = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}
        for variable, (secret_name, key) in secret_env_vars.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {**labels, **CREATED_BY}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "activeDeadlineSeconds": active_deadline_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": MAIN,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": [argument.replace("$", "$$") for argument in arguments],
                    "env": plain + secret,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }

"""The pod that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# As the Kubernetes API takes it; Any, for the client's types ask for its own classes.
Manifest = Any

MAIN = "main"
"""The name of our container: a cluster may put others into the pod, such as a service mesh's."""


def manifest_of(
    name: str,
    namespace: str,
    image: str,
    args: Sequence[str],
    labels: Mapping[str, str],
    env: Mapping[str, str],
    secret_env: Mapping[str, Sequence[str]],
    deadline_seconds: int,
) -> Manifest:
    """Return a pod with one container that meets the ``restricted`` Pod Security Standard.

    ``secret_env`` maps a variable to (Secret's name, key). Kubernetes expands ``$(NAME)`` in arguments;
    ``$$`` stands for a literal ``$``, so that nothing in them is taken for a variable.
    """
    plain = [{"name": key, "value": value} for key, value in env.items()]
    secret = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name_, "key": key}}}
        for variable, (name_, key) in secret_env.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "activeDeadlineSeconds": deadline_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": MAIN,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": [arg.replace("$", "$$") for arg in args],
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

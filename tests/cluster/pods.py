"""Pods as the operator builds them, but with a shell script as their command."""

from __future__ import annotations

import itertools

import airflow_pods as pods

LEAVE_A_RESULT = """echo '{"acc": 5}' > "$RESULT_FILE" """
RESULT = {"acc": 5}

_numbers = itertools.count(1)


def manifest(namespace: str, image: str, script: str, name: str = "") -> pods.Manifest:
    """Return the manifest of a pod that runs the script, with a CPU's labels so that its policies apply."""
    made = pods.manifest_of(
        name or f"shell-{next(_numbers)}",
        namespace,
        image,
        [script],
        {"app": "cluster-cpu"},
        {"RESULT_FILE": "/dev/termination-log"},
        {},
        60,
    )
    made["spec"]["containers"][0]["command"] = ["/bin/sh", "-c"]
    made["spec"]["securityContext"]["runAsUser"] = 65532  # the shell's image would run as root
    return made

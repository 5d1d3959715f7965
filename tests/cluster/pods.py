"""Pods as the operator makes them, but with a shell in the image's place."""

from __future__ import annotations

import itertools

from dags import pods

LEAVE_A_RESULT = """echo '{"acc": 5}' > "$RESULT_FILE" """
RESULT = {"acc": 5}

_numbers = itertools.count(1)


def manifest(namespace: str, image: str, script: str, name: str = "") -> pods.Manifest:
    """A pod that runs the script; labelled as a CPU's pods are, so that it falls under their policies."""
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
    made["spec"]["securityContext"]["runAsUser"] = 65532  # the shell's image runs as root by itself
    return made

"""kubectl, held to one cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]


class KindError(Exception):
    """It can't go on; the text says why, and what to do."""


@dataclass(frozen=True)
class Kubectl:
    """A cluster as kubectl is told of it. Every call raises KindError with kubectl's own words."""

    context: str
    kubeconfig: Path | None = None
    """None: where kubectl itself looks."""

    def command(self, *arguments: str) -> list[str]:
        config = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return ["kubectl", *config, f"--context={self.context}", *arguments]

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Run it with ``given`` as its standard input; what it prints."""
        return run(*self.command(*arguments), given=given)

    def wait_for(self, namespace: str, workload: str, seconds: int) -> None:
        """Wait until a workload has been rolled out."""
        self("rollout", "status", workload, "-n", namespace, f"--timeout={seconds}s")

    def apply(self, *manifests: Manifest) -> None:
        """Make these objects, or make them so."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        # Not by `apply`, which would keep what a Secret holds a second time, as an annotation.
        self("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(whole))

    def find(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """An object, or None when there is none."""
        text = self("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return dict(json.loads(text)) if text.strip() else None


def run(*command: str, given: str | None = None, cwd: Path | None = None) -> str:
    """Run a command to its end; raise KindError with what it complains of when it fails."""
    try:
        done = subprocess.run(command, input=given, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise KindError(f"{command[0]} is not on the PATH: install it, and try again") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise KindError(f"`{shown(command)}` failed: {said}")
    return done.stdout


def shown(command: Sequence[str]) -> str:
    """A command's beginning, enough to know it by."""
    return " ".join(command[:8])

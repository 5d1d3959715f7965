"""Run kubectl against one cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]


class KindError(Exception):
    """A step failed; the text says why, and what to do."""


@dataclass(frozen=True)
class Kubectl:
    """A cluster that kubectl can reach. A call that fails raises KindError with kubectl's own message."""

    context: str
    kubeconfig: Path | None = None
    """None means the kubeconfig that kubectl uses by default."""

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        config = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return ["kubectl", *config, f"--context={self.context}", *arguments]

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl with `given` as its standard input and return its standard output."""
        return run(*self.command(*arguments), given=given)

    def wait_for(self, namespace: str, workload: str, seconds: int) -> None:
        """Wait until a workload is rolled out."""
        self("rollout", "status", workload, "-n", namespace, f"--timeout={seconds}s")

    def apply(self, *manifests: Manifest) -> None:
        """Create or update these objects."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        # Server-side, because a client-side apply would store a copy of each Secret in an annotation.
        self("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(whole))

    def find(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """Return an object, or None if it does not exist."""
        text = self("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return dict(json.loads(text)) if text.strip() else None


def run(*command: str, given: str | None = None, cwd: Path | None = None) -> str:
    """Run a command and return its standard output. Raises KindError with its error output if it fails."""
    try:
        done = subprocess.run(command, input=given, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise KindError(f"{command[0]} is not on the PATH: install it and try again") from None
    if done.returncode:
        output = (done.stderr or done.stdout).strip()
        raise KindError(f"`{' '.join(command[:8])}` failed: {output}")
    return done.stdout

"""The stack's pods as kubectl tells of them: a line for every change, and what came of them in words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from dags.describe import happened
from scripts.local import supervisor
from scripts.local.errors import StackError
from scripts.local.settings import REPOSITORY, Settings

COLUMNS = REPOSITORY / "scripts/kubectl/columns"


def show(settings: Settings, start: str | None) -> int:
    """Print the pods of all start runs, or of one, and every change of them; kubectl's exit code."""
    if shutil.which("kubectl") is None:
        raise StackError("kubectl is not on the PATH: install it, and try again")
    if not supervisor.states(settings):
        raise StackError(f"the stack in {settings.state} is not up: run up first")
    print(f"Pods in namespace {settings.namespace}, as they change; Ctrl-C ends this.", file=sys.stderr)
    command = get_pods(settings, start)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kubectl:
        try:
            for line in in_words(kubectl.stdout or ()):
                print(line, flush=True)
        except BaseException:
            kubectl.terminate()
            raise
    return kubectl.returncode


def get_pods(settings: Settings, start: str | None) -> Sequence[str]:
    """kubectl's command line."""
    labels = ["app=cluster-cpu", *([f"start={start}"] if start else [])]
    return [
        *("kubectl", "--kubeconfig", str(settings.cluster_config)),
        *(["--context", settings.context] if settings.context else []),
        *("--namespace", settings.namespace),
        *("get", "pods", "--watch", "--selector", ",".join(labels)),
        f"--output=custom-columns-file={COLUMNS}",
    ]


def in_words(lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """The lines of kubectl, without the empty ones that ends of results make, and the results in words."""
    for line in lines:
        before, brace, rest = line.rstrip().partition("{")
        try:
            words = happened(json.loads(brace + rest))
        except (ValueError, RecursionError):  # any pod may leave anything
            words = ""
        if line.strip():
            yield before + (words or brace + rest)

"""``pods``: the stack's pods as kubectl shows them, a line for every change, with each result's sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

from scripts.local import supervisor
from scripts.local.errors import StackError
from scripts.local.settings import REPOSITORY, Settings

COLUMNS = REPOSITORY / "scripts/kubectl/columns"


def show(settings: Settings, start: str | None) -> int:
    """Print the pods of one start run, or of all, and every change of them; return kubectl's exit code."""
    if shutil.which("kubectl") is None:
        raise StackError("kubectl is not on the PATH: install it, and try again")
    if not supervisor.states(settings):
        raise StackError(f"the stack in {settings.state} is not up: run up first")
    print(f"Pods in namespace {settings.namespace}, as they change; Ctrl-C ends this.", file=sys.stderr)
    with subprocess.Popen(get_pods(settings, start), stdout=subprocess.PIPE, text=True) as kubectl:
        try:
            for line in with_sentences(kubectl.stdout or ()):
                print(line, flush=True)
        except BaseException:
            kubectl.terminate()
            raise
    return kubectl.returncode


def get_pods(settings: Settings, start: str | None) -> Sequence[str]:
    """Return kubectl's command line."""
    labels = ["app=cluster-cpu", *([f"start={start}"] if start else [])]
    return [
        *("kubectl", "--kubeconfig", str(settings.cluster_config)),
        *(["--context", settings.context] if settings.context else []),
        *("--namespace", settings.namespace),
        *("get", "pods", "--watch", "--selector", ",".join(labels)),
        f"--output=custom-columns-file={COLUMNS}",
    ]


def with_sentences(lines: Iterable[str]) -> Iterator[str]:
    """Yield kubectl's lines with each result replaced by its sentence, if it has one.

    Empty lines, which come from the newline at the end of a result, are left out.
    """
    for line in lines:
        before, brace, rest = line.rstrip().partition("{")
        if line.strip():
            yield before + (_sentence(brace + rest) or brace + rest)


def _sentence(result: str) -> str:
    """Return the sentence in a result, or "" if there is none: any pod may leave anything."""
    try:
        fields = json.loads(result)
    except (ValueError, RecursionError):
        return ""
    sentence = fields.get("sentence") if isinstance(fields, dict) else None
    return sentence if isinstance(sentence, str) and sentence.isprintable() else ""

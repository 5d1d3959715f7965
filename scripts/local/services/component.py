"""A component, one process of the stack, as plain data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.local.settings import Settings

STACK_MARK = "CLUSTER_CPU_STACK"
"""The environment variable by which a process of a stack is found even when its parent is gone."""
COMPONENT_MARK = "CLUSTER_CPU_COMPONENT"
"""The environment variable that holds the name of the component a process belongs to."""

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY"),
    *("http_proxy", "https_proxy"),
)
"""The caller's environment variables that components get: for programs, certificates and proxies."""


@dataclass(frozen=True)
class Component:
    """How a process is started and stopped."""

    name: str
    command: Sequence[str]
    folder: Path
    """The working folder."""
    address: str = ""
    """Where it listens, for people to read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_files: Sequence[Path] = ()
    """JSON files of further environment variables, read when the component starts. They may hold secrets."""
    user: str | None = None
    """The user to run as if the stack runs as root; None means the current user."""
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    signal_whole_group: bool = True
    """Whether the stop signal goes to the whole process group, or to the main process only."""


def environment(component: Component, settings: Settings) -> dict[str, str]:
    """Return the component's whole environment, which has only the INHERITED variables of the caller's."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {STACK_MARK: str(settings.state), COMPONENT_MARK: component.name, "PYTHONUNBUFFERED": "1"}
    # The stack's own addresses are all on loopback, never behind a proxy.
    no_proxy = [os.environ[name] for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)][:1]
    own["NO_PROXY"] = own["no_proxy"] = ",".join([*no_proxy, "127.0.0.1", "localhost"])
    bin_folder = str(Path(sys.executable).parent)
    inherited["PATH"] = f"{bin_folder}:{inherited.get('PATH', os.defpath)}"
    result = {"LANG": "C.UTF-8", **inherited, **own, **component.environment}
    for path in component.environment_files:
        result |= read_variables(path)
    return result


def read_variables(path: Path) -> dict[str, str]:
    """Return the environment variables in a JSON file, or none if the file does not exist."""
    with suppress(FileNotFoundError):
        return dict(json.loads(path.read_text()))
    return {}

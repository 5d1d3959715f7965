"""A component: one long-running process of the stack, as plain data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.local.settings import Settings

# Every process of a stack carries these two, so that it can be found again whatever became of its parent.
STACK_MARK = "CLUSTER_CPU_STACK"
COMPONENT_MARK = "CLUSTER_CPU_COMPONENT"

# What of the caller's environment the stack lives in: where programs and certificates are, how to get out.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY"),
    *("http_proxy", "https_proxy"),
)


@dataclass(frozen=True)
class Component:
    """How one process is started and stopped."""

    name: str
    command: Sequence[str]
    folder: Path
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None  # run as this user when the stack is root's
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    signal_whole_group: bool = True


def environment(component: Component, settings: Settings) -> dict[str, str]:
    """The component's whole environment: nothing of the caller's leaks in but what it needs."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {STACK_MARK: str(settings.state), COMPONENT_MARK: component.name, "PYTHONUNBUFFERED": "1"}
    # The stack's own addresses are all on loopback, never behind a proxy.
    elsewhere = [os.environ[name] for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)][:1]
    own["NO_PROXY"] = own["no_proxy"] = ",".join([*elsewhere, "127.0.0.1", "localhost"])
    bin_folder = str(Path(sys.executable).parent)
    inherited["PATH"] = f"{bin_folder}:{inherited.get('PATH', os.defpath)}"
    return {"LANG": "C.UTF-8", **inherited, **own, **component.environment}

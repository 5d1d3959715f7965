"""The settings of one stack, from which every path and address derives. Plain data."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.local.alias import alias_of
from scripts.local.errors import StackError

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "cpu-redis"  # noqa: S105
"""The name of the Kubernetes Secret with Redis' URL."""
LONGEST_SOCKET_PATH = 100
"""A unix socket's address holds 108 bytes on Linux and 104 on macOS, including its final zero."""
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]*")
BASE_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True)
class Settings:
    """The settings of one stack. Two stacks run side by side if their state folders and ports differ.

    Raises StackError for what can't work; the error names the option and the remedy.
    """

    state: Path
    port: int = 8080
    redis_port: int = 16379
    kube_port: int = 16443
    cpus_at_once: int = 16
    keep_days: int = 8
    kubeconfig: Path | None = None
    context: str | None = None
    pods_reach_host_at: str | None = None
    redis_url: str | None = None
    image: str = "cpu:dev"
    namespace: str = "cpu-jobs"
    dags: Path = REPOSITORY / "dags"
    base_url: str | None = None

    def __post_init__(self) -> None:
        ports = {"--port": self.port, "--redis-port": self.redis_port, "--kube-port": self.kube_port}
        for option, port in ports.items():
            if not 1 <= port <= 65535:
                raise StackError(f"{option} is {port}: choose a port from 1 to 65535")
        if len(set(ports.values())) < len(ports):
            raise StackError(f"two of {', '.join(ports)} are the same: choose three different ports")
        if not 4 <= self.cpus_at_once <= 400:
            raise StackError(f"--cpus-at-once is {self.cpus_at_once}: choose a number from 4 to 400")
        if not 1 <= self.keep_days <= 3650:
            raise StackError(f"--keep-days is {self.keep_days}: choose a number from 1 to 3650")
        if not DNS_LABEL.fullmatch(self.namespace):
            raise StackError(
                f"--namespace is {self.namespace!a}: choose a name of up to 63 of a-z, 0-9 and -"
            )
        if self.pods_reach_host_at and not HOST.fullmatch(self.pods_reach_host_at):
            raise StackError(
                f"--pods-reach-host-at is {self.pods_reach_host_at!a}: "
                "give an address of this machine, such as 192.0.2.7"
            )
        if self.kubeconfig and not (self.pods_reach_host_at or self.redis_url):
            raise StackError(
                "--kubeconfig names a cluster whose pods can't reach Redis on this machine's loopback: "
                "add --pods-reach-host-at ADDRESS (this machine, as its pods see it) or --redis-url URL"
            )
        if self.context and not self.kubeconfig:
            raise StackError("--context names a context of a kubeconfig: give that with --kubeconfig PATH")
        if self.base_url and not BASE_URL.fullmatch(self.base_url):
            raise StackError(
                f"--base-url is {self.base_url!a}: give the full address, such as https://example.org/airflow"
            )
        if self.pods_reach_host_at and self.redis_url:
            raise StackError("--redis-url names a Redis of your own: leave --pods-reach-host-at out")

    @property
    def logs(self) -> Path:
        """The folder of logs, one file per component."""
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        """The folder of process ids, one file per component."""
        return self.state / "pids"

    @property
    def airflow_home(self) -> Path:
        """The folder of Airflow's configuration, passwords and task logs."""
        return self.state / "airflow"

    @property
    def postgres(self) -> Path:
        """The folder of PostgreSQL's data and socket, owned by the user that PostgreSQL runs as."""
        return self.state / "postgres"

    @property
    def redis(self) -> Path:
        """The folder of Redis' configuration and data."""
        return self.state / "redis"

    @property
    def kube(self) -> Path:
        """The folder of the local Kubernetes endpoint's data."""
        return self.state / "kube"

    @property
    def cluster_config(self) -> Path:
        """The kubeconfig of the cluster in use: the user's, or else the local endpoint's."""
        return self.kubeconfig or self.kube / "kubeconfig"

    @property
    def api_url(self) -> str:
        """The address of Airflow's UI and REST API for programs on this machine, without a final slash."""
        return f"http://127.0.0.1:{self.port}{urlsplit(self.base_url or '').path.rstrip('/')}"

    @property
    def ui_url(self) -> str:
        """The address of Airflow's UI for people, perhaps behind a reverse proxy, without a final slash."""
        return (self.base_url or self.api_url).rstrip("/")

    @property
    def short_state(self) -> Path:
        """The state folder under a name short enough for socket paths: its own, or an alias in ``/tmp``.

        Raises StackError if the alias's folder is not safe to use.
        """
        return alias_of(self.state) if self.needs_alias else self.state

    @property
    def needs_alias(self) -> bool:
        """Whether the state folder's path is too long for socket paths."""
        return len(str(self.postgres / ".s.PGSQL.5432.lock")) > LONGEST_SOCKET_PATH

    @property
    def supervisor_socket(self) -> Path:
        """The unix socket that supervisord listens on."""
        return self.short_state / "supervisor.sock"

    @property
    def postgres_socket_folder(self) -> Path:
        """The folder of PostgreSQL's unix socket, which clients give as its ``host``."""
        return self.short_state / "postgres"

    def save(self) -> None:
        """Save the settings in the state folder, for their owner only: a Redis URL may hold a password."""
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        write_private(self.state / "settings.json", json.dumps(plain, indent=2) + "\n")


def load(state: Path) -> Settings | None:
    """Return the settings that ``up`` saved in a state folder, or None if it never ran there."""
    try:
        plain: dict[str, Any] = json.loads((state / "settings.json").read_text())
    except FileNotFoundError:
        return None
    paths = {"state", "kubeconfig", "dags"}
    known = {field.name for field in fields(Settings)} - {"state"}
    given: dict[str, Any] = {k: Path(v) if k in paths and v else v for k, v in plain.items() if k in known}
    # The state folder's path is not among them, because the folder may have been moved since.
    return Settings(state=state, **given)


def load_or_default(state: Path) -> Settings:
    """Return the settings that ``up`` saved in a state folder, or the defaults if it never ran there."""
    return load(state) or Settings(state)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)

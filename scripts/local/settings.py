"""The settings of one stack, and where it keeps its things. Plain data; every path derives from it."""

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
SECRET = "cpu-redis"  # noqa: S105  (its name; the address it holds is made when the stack is)
# A unix socket's address holds 108 bytes on Linux and 104 on macOS, its final zero included.
LONGEST_SOCKET_PATH = 100
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]*")
BASE_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True)
class Settings:
    """One stack. Two stacks run side by side when their state folders and ports differ."""

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
        """Refuse what can't work, with the option that would put it right."""
        ports = {"--port": self.port, "--redis-port": self.redis_port, "--kube-port": self.kube_port}
        for option, port in ports.items():
            if not 1 <= port <= 65535:
                raise StackError(f"{option} is {port}: choose a port from 1 to 65535")
        if len(set(ports.values())) < len(ports):
            raise StackError(f"two of {', '.join(ports)} are the same port: choose three different ones")
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
            raise StackError("--context chooses from a kubeconfig: name that with --kubeconfig PATH")
        if self.base_url and not BASE_URL.fullmatch(self.base_url):
            raise StackError(
                f"--base-url is {self.base_url!a}: give the address in full, such as https://example.org/airflow"
            )
        if self.pods_reach_host_at and self.redis_url:
            raise StackError("--redis-url is a Redis of your own: leave --pods-reach-host-at out")

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        """Which process each component was started as."""
        return self.state / "pids"

    @property
    def airflow_home(self) -> Path:
        """Airflow's configuration, passwords and task logs."""
        return self.state / "airflow"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data and its socket; belongs to the user PostgreSQL runs as."""
        return self.state / "postgres"

    @property
    def redis(self) -> Path:
        """Redis' configuration and data."""
        return self.state / "redis"

    @property
    def kube(self) -> Path:
        """What the local Kubernetes endpoint keeps."""
        return self.state / "kube"

    @property
    def cluster_config(self) -> Path:
        """The kubeconfig of the cluster in use: the one given, or the local endpoint's."""
        return self.kubeconfig or self.kube / "kubeconfig"

    @property
    def api_url(self) -> str:
        """Airflow's UI and REST API, for programs on this machine; without a slash at its end."""
        return f"http://127.0.0.1:{self.port}{urlsplit(self.base_url or '').path.rstrip('/')}"

    @property
    def ui_url(self) -> str:
        """Airflow's UI for people, who may reach it through a reverse proxy; without a slash at its end."""
        return (self.base_url or self.api_url).rstrip("/")

    @property
    def short_state(self) -> Path:
        """The state folder by a name short enough for socket paths: itself, or an alias in ``/tmp``.

        Raises StackError if the place of the alias is not safe to use.
        """
        return alias_of(self.state) if self.needs_alias else self.state

    @property
    def needs_alias(self) -> bool:
        """Whether the state folder's path is too long for socket paths."""
        return len(str(self.postgres / ".s.PGSQL.5432.lock")) > LONGEST_SOCKET_PATH

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord takes its orders."""
        return self.short_state / "supervisor.sock"

    @property
    def postgres_socket_folder(self) -> Path:
        """PostgreSQL's ``host``."""
        return self.short_state / "postgres"

    def save(self) -> None:
        """Remember the settings in the state folder (a Redis URL may hold a password: owner only)."""
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        write_private(self.state / "settings.json", json.dumps(plain, indent=2) + "\n")


def load(state: Path) -> Settings | None:
    """The settings ``up`` remembered in this state folder, or None when it never ran there."""
    try:
        plain: dict[str, Any] = json.loads((state / "settings.json").read_text())
    except FileNotFoundError:
        return None
    paths = {"state", "kubeconfig", "dags"}
    known = {field.name for field in fields(Settings)} - {"state"}
    given: dict[str, Any] = {k: Path(v) if k in paths and v else v for k, v in plain.items() if k in known}
    # The folder may have been moved since: where it is now is what counts.
    return Settings(state=state, **given)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all at once."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)

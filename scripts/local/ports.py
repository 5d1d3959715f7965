"""Free ports: check those that a stack listens on, and find others."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

import psutil

from scripts.local.errors import StackError
from scripts.local.services import redis
from scripts.local.settings import Settings


def check_free(settings: Settings) -> None:
    """Raise StackError for the first port that is taken, or the first address that is not this machine's."""
    require_free("127.0.0.1", settings.port, "--port")
    if not settings.redis_url:
        for address in redis.addresses(settings):
            require_free(address, settings.redis_port, "--redis-port")
    if not settings.kubeconfig:
        require_free("127.0.0.1", settings.kube_port, "--kube-port")


def require_free(address: str, port: int, option: str) -> None:
    """Raise StackError if the port can't be listened on; the error names the option that chooses another."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do, so that connections of a stack that has just stopped do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except PermissionError as error:
            raise StackError(f"only root may listen on port {port}: choose another with {option}") from error
        except OSError as error:
            if error.errno in {99, 49}:  # EADDRNOTAVAIL on Linux and on macOS
                raise StackError(
                    f"{address} is not an address of this machine: choose another with --pods-reach-host-at"
                ) from error
            raise StackError(
                f"port {port} is taken{_by_whom(port)}: stop that, or choose another port with {option}"
            ) from error


def _by_whom(port: int) -> str:
    """Return `` by NAME (process PID)``, or "" if the process can't be found."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def free_ports(number: int) -> list[int]:
    """Return ports on loopback, all different, that nothing listens on at this moment."""
    with ExitStack() as sockets:
        servers = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [server.getsockname()[1] for server in servers]

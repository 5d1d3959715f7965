"""A stack's settings in a folder and on ports of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scripts.local.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, redis_port, kube_port = free_ports(3)
    return Settings(
        state=(tmp_path / "state").resolve(), port=port, redis_port=redis_port, kube_port=kube_port
    )


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

"""The settings of a stack in a temporary folder and on free ports, its description, and an external Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local.ports import free_ports
from scripts.local.settings import Settings
from scripts.local.stack import Stack
from tests.support import redis_server as servers


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, redis_port, kube_port = free_ports(3)
    return Settings(
        state=(tmp_path / "state").resolve(), port=port, redis_port=redis_port, kube_port=kube_port
    )


@pytest.fixture
def described(settings: Settings) -> Stack:
    return Stack.describe(settings)


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a Redis that is not the stack's own."""
    port = servers.free_port()
    with servers.running(port=port):
        yield port

"""A stack's settings in a folder and on ports of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.local.ports import free_ports
from scripts.local.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, redis_port, kube_port = free_ports(3)
    return Settings(
        state=(tmp_path / "state").resolve(), port=port, redis_port=redis_port, kube_port=kube_port
    )

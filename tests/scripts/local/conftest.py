"""The settings of a stack in a temporary folder and on free ports, and its description."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.local.ports import free_ports
from scripts.local.settings import Settings
from scripts.local.stack import Stack


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, redis_port, kube_port = free_ports(3)
    return Settings(
        state=(tmp_path / "state").resolve(), port=port, redis_port=redis_port, kube_port=kube_port
    )


@pytest.fixture
def described(settings: Settings) -> Stack:
    return Stack.describe(settings)

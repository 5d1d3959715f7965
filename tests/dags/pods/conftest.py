"""The endpoint without its node: a test says what becomes of each pod."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.kubernetes_api import kubeconfig
from tests.support.nodeless import Nodeless, serving


@pytest_asyncio.fixture
async def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodeless]:
    """An endpoint that the connection leads to."""
    async with serving(tmp_path) as (endpoint, url):
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kubeconfig(url)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        yield endpoint

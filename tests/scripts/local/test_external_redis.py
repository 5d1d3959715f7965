"""A Redis of the user's own (--redis-url): what `up` refuses, and what it warns about."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.local.stack import Stack
from scripts.local.startup import Startup
from tests.support import redis_server as servers


def warnings_for(url: str, state: Path) -> list[str]:
    """Return what ``up`` prints when it checks the Redis of that URL."""
    printed: list[str] = []
    Startup(Stack.describe(Settings(state, redis_url=url)), printed.append).check_external_redis()
    return printed


def test_up_refuses_a_redis_that_evicts_and_warns_about_one_that_could(port: int, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{port}"
    assert warnings_for(url, tmp_path) == []
    with redis.Redis(port=port) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        [warning] = warnings_for(url, tmp_path)
        assert warning.startswith("warning: Redis would evict the CPUs' memory")
        admin.config_set("maxmemory", "100mb")
        with pytest.raises(StackError, match="set it to noeviction"):
            warnings_for(url, tmp_path)


def test_up_warns_about_an_unreachable_redis_without_showing_its_password(tmp_path: Path) -> None:
    [warning] = warnings_for(f"redis://:s3cret@127.0.0.1:{servers.free_port()}", tmp_path)
    assert warning.startswith("warning: Redis does not answer")
    assert "does --redis-url lead to it?" in warning
    assert "s3cret" not in warning

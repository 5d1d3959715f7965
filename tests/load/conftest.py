"""A stack for three hundred CPUs at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.slack.server import SlackServer
from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("load") / "state"
    with SlackServer() as slack, running_stack(state, slack, ["--cpus-at-once=300"]) as up:
        yield up

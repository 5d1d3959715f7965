"""A stack for three hundred CPUs at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.airflow.conftest import stack_in
from tests.support.slack.server import SlackServer
from tests.support.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("load") / "state"
    with SlackServer() as slack, stack_in(state, slack, ["--cpus-at-once=300"]) as up:
        yield up

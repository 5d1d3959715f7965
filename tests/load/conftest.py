"""A stack for three hundred CPUs at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.conftest import stack_in
from tests.airflow.stack import Stack
from tests.slack.server import SlackServer

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.load)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("load") / "state"
    with SlackServer() as slack, stack_in(state, slack, ["--cpus-at-once=300"]) as up:
        yield up

"""A stack to be maltreated, and the seed that says how."""

from __future__ import annotations

import random
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
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Given by --seed, or any; either way it is told, so that the same faults can be injected again."""
    given = request.config.getoption("--seed")
    chosen = random.SystemRandom().randrange(10**6) if given is None else given
    print(f"\nthese faults again: --seed {chosen}")
    return int(chosen)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with SlackServer() as slack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CPU_WATCH", "20")
        with stack_in(tmp_path_factory.mktemp("faults") / "state", slack, []) as up:
            yield up

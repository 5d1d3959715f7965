"""The stacks of the end-to-end tests, and a Slack for them to post to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.slack.server import SlackServer
from tests.support.stack import Stack, cluster_options, running_stack


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    """A stack with the settings of ``make up``."""
    state = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, slack, cluster_options(pytestconfig)) as running:
        yield running


@pytest.fixture(scope="module")
def wide_stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Stack]:
    """A second stack beside the first: without PodExecutor, and with more CPUs at once than workers.

    So the triggerer waits for the pods.
    """
    state = tmp_path_factory.mktemp("wide") / "state"
    options = [*cluster_options(pytestconfig), "--cpus-at-once=64"]
    deferrable = {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "true"}
    with running_stack(state, slack, options, POD_EXECUTOR="false", **deferrable) as running:
        yield running

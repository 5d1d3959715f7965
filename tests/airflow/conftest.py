"""The stacks of the end-to-end tests, and a Slack for them to post to."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.waiting import wait_until
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


class RetryingTransport(httpx.HTTPTransport):
    """Retries on 503, as the wall's page does: a busy machine may take too long for an answer."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        responses: list[httpx.Response] = []

        def is_available() -> bool:
            responses.append(super(RetryingTransport, self).handle_request(request))
            return responses[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(is_available, 30)
        return responses[-1]


@pytest.fixture(scope="module")
def wall_api(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the wall that has logged in."""
    with httpx.Client(
        base_url=stack.settings.api_url, transport=RetryingTransport(), trust_env=False, timeout=30
    ) as client:
        secret = passwords(stack.settings.state).admin
        answer = client.post("/auth/token", json={"username": ADMIN, "password": secret})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        client.base_url = httpx.URL(f"{stack.settings.api_url}/cpu-wall/")
        yield client

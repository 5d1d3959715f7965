"""A stack into which faults are injected, and the seed that selects them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from scripts.local.services import kubernetes
from tests.faults.proxy import FIRST, Proxy, proxy_in_thread
from tests.faults.report import Report
from tests.support.slack.server import SlackServer
from tests.support.stack import Stack, cluster_options, running_stack

REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The value of --seed, or a random one; printed, so that the same faults can be injected again."""
    given = request.config.getoption("--seed")
    chosen = random.SystemRandom().randrange(10**6) if given is None else given
    print(f"\nto inject the same faults again: --seed {chosen}")
    return int(chosen)


@pytest.fixture(scope="session")
def items(pytestconfig: pytest.Config) -> int:
    """The value of --items."""
    return int(pytestconfig.getoption("--items"))


@pytest.fixture(scope="session")
def report(seed: int, pytestconfig: pytest.Config) -> Report:
    """The counts of the whole session, printed at its end."""
    report = Report(seed)
    pytestconfig.stash[REPORT] = report
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if report := config.stash.get(REPORT, None):
        terminalreporter.section("faults")
        terminalreporter.write_line(str(report))


@pytest.fixture(scope="session")
def proxy() -> Iterator[Proxy]:
    """The proxy between Airflow and Kubernetes."""
    with proxy_in_thread() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, proxy: Proxy
) -> Iterator[Stack]:
    """A stack whose watchdog runs every twenty seconds, and on which no CPU waits for another one to stop."""
    with SlackServer() as slack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CPU_WATCH", "20")
        environment.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", proxy.connection(FIRST))
        state = tmp_path_factory.mktemp("faults") / "state"
        options = ["--cpus-at-once=32", *cluster_options(pytestconfig)]
        with running_stack(state, slack, options) as up:
            proxy.lead_to(kubernetes.core_api(up.settings))
            yield up

"""A stand-in for Slack, and a check after each test: no secret in any log or output."""

import logging
from collections.abc import Iterator

import pytest

from scripts.slack import api
from tests.support.slack.server import TOKEN, WEBHOOK_PATH, SlackServer


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _loopback_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second for Slack to answer, so that tests of the timeout are quick."""
    monkeypatch.setattr(api, "TIMEOUT", 1)


@pytest.fixture(autouse=True)
def _no_secret_is_ever_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    logged = [logging.Formatter().format(record) for record in caplog.get_records("call")]
    everything = "\n".join([*logged, *capfd.readouterr()])
    assert TOKEN not in everything
    assert WEBHOOK_PATH not in everything

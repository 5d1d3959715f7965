"""Slack's stand-in for a test, and what holds for all of them: no secret in any log or output."""

import logging
from collections.abc import Iterator

import pytest

from scripts import slack_notify
from tests.slack.server import TOKEN, WEBHOOK_PATH, SlackServer


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _loopback_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second to answer, one more try: the bounds are what is tested, not their size."""
    monkeypatch.setattr(slack_notify, "TIMEOUT", 1)
    monkeypatch.setattr(slack_notify, "RETRIES", 1)


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

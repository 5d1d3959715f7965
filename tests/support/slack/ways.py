"""Airflow connections to the stand-in for Slack: by a bot, and by a webhook."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.slack.server import TOKEN, WEBHOOK_PATH, SlackServer

WEBHOOK = f"https://hooks.slack.com{WEBHOOK_PATH}"


@dataclass(frozen=True)
class Stored:
    """The parts of an Airflow connection that are read."""

    password: str | None = field(repr=False)
    extra: str | None = None


def bot(slack: SlackServer, channel: str = "#cpu", token: str = TOKEN) -> Stored:
    return Stored(token, json.dumps({"channel": channel, "base_url": slack.api}))


def webhook(slack: SlackServer, address: str = WEBHOOK) -> Stored:
    return Stored(address, json.dumps({"base_url": slack.url}))


Way = Callable[[SlackServer], Stored]

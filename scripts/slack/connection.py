"""What the Airflow connection `slack_cpu` leads to: a bot and its channel, or an incoming webhook."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urljoin

from scripts.slack.errors import SlackRefused

CONNECTION = "slack_cpu"
SLACK_API = "https://slack.com/api/"


class Connection(Protocol):
    """What is used of an Airflow connection."""

    @property
    def password(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


@dataclass(frozen=True)
class Bot:
    """A bot that posts to `channel` (`C0123…` or `#cpu`), which it has been invited to."""

    token: str = field(repr=False)
    channel: str
    base_url: str = SLACK_API


@dataclass(frozen=True)
class Webhook:
    """An incoming webhook: who knows the address may post."""

    url: str = field(repr=False)


def connection(name: str = CONNECTION) -> Connection | None:
    """The Airflow connection of that name, or None where there is none; to be called in a task."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: Connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None
    return found


_HOST = r"[A-Za-z0-9.-]+(?::\d+)?"


def destination(connection: Connection) -> Bot | Webhook:
    """Where a connection leads; raises SlackRefused where it leads nowhere.

    Malformed secrets are refused here because the HTTP client would quote them in its error.
    """
    secret, extra = (connection.password or "").strip(), _extra(connection)
    base_url = extra.get("base_url", "")
    if base_url and not re.fullmatch(rf"https?://{_HOST}(/[!-~]*)?", base_url):
        raise SlackRefused("the Slack connection's base_url is no http(s) address: correct or remove it")
    if webhook := re.fullmatch(rf"https://{_HOST}(?P<path>/[!-~]+)", secret):
        return Webhook(urljoin(base_url, webhook["path"]) if base_url else secret)
    if not re.fullmatch(r"xox[A-Za-z0-9.-]+", secret):
        raise SlackRefused(
            "the Slack connection's password is neither a bot token (xoxb-…) nor an incoming webhook's"
            " address (https://…): copy one of them, whole, from your app's page at https://api.slack.com/apps"
        )
    if not extra.get("channel"):
        raise SlackRefused(
            'the Slack connection has a bot token but no channel: add the extra {"channel": "C0123456789"}'
        )
    return Bot(secret, extra["channel"], f"{base_url.rstrip('/')}/" if base_url else SLACK_API)


def _extra(connection: Connection) -> dict[str, str]:
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict) or not all(isinstance(value, str) for value in extra.values()):
        # Neither the text nor where it is wrong: a token may have been put there by mistake.
        raise SlackRefused(
            "the Slack connection's extra is not a JSON object of strings:"
            ' write it as {"channel": "C0123456789"}'
        )
    return {name: value.strip() for name, value in extra.items()}

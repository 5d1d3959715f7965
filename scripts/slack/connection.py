"""The Airflow connection `slack_cpu`: a bot and its channel, or an incoming webhook."""

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
    """The parts of an Airflow connection that are read."""

    @property
    def password(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


@dataclass(frozen=True)
class Bot:
    """A bot and the channel that it is invited to: an id (`C0123456789`) or a name (`#cpu`)."""

    token: str = field(repr=False)
    channel: str
    base_url: str = SLACK_API


@dataclass(frozen=True)
class Webhook:
    """An incoming webhook. Its URL is a secret: whoever knows it may post."""

    url: str = field(repr=False)


def connection(name: str = CONNECTION) -> Connection | None:
    """Return the Airflow connection of that name, or None if there is none. Call it in a task."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: Connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None
    return found


_HOST = r"[A-Za-z0-9.-]+(?::\d+)?"


def destination(connection: Connection) -> Bot | Webhook:
    """Return where a connection posts to. Raises SlackRefused, with the remedy, if it is not usable.

    Malformed secrets are refused here because the HTTP client would quote them in its error.
    """
    secret, extra = (connection.password or "").strip(), _extra(connection)
    base_url = extra.get("base_url", "")
    if base_url and not re.fullmatch(rf"https?://{_HOST}(/[!-~]*)?", base_url):
        raise SlackRefused("the Slack connection's base_url is not an http(s) address: correct or remove it")
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
        # The error does not quote the extra: it may hold a token by mistake.
        raise SlackRefused(
            "the Slack connection's extra is not a JSON object of strings:"
            ' write it as {"channel": "C0123456789"}'
        )
    return {name: value.strip() for name, value in extra.items()}

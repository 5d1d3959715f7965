"""Where people are told: in Slack, or in the task's log where no Slack is set up.

Data flows one way: what a task knows → `Message` (`messages.py`) → Slack (`slack/`).

    news = News.of(result, link=dag_run_link(base_url, dag_id, run_id))
    return notify(message(news), connection())

The Airflow connection `slack_cpu` is one of two things:

| password                                   | extra                        | posts                          |
|--------------------------------------------|------------------------------|--------------------------------|
| a bot token, `xoxb-…`                      | `{"channel": "C0123456789"}` | to that channel, by threads    |
| an incoming webhook's address, `https://…` | -                            | to the webhook's own channel   |

What a bot's scopes are for:

| scope                                                         | for                                        |
|---------------------------------------------------------------|--------------------------------------------|
| `chat:write`                                                  | posting at all                             |
| `channels:history`, or `groups:history` for a private channel | threads, and each message once; both want  |
|                                                               | the channel's id, where a name posts too   |
| `files:write`                                                 | a picture of the run with its last answer  |

`base_url` in the extra sends either of them to another server: a stand-in for Slack, or a gateway. To try
yours by hand: `python -m scripts.slack_notify --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Literal, TypedDict

from scripts.command import ended
from scripts.slack.api import Place, attach, find, post
from scripts.slack.connection import CONNECTION, Bot, Connection, Webhook, destination
from scripts.slack.errors import SlackError, SlackRefused
from scripts.slack.messages import Mark, Message
from scripts.text import visible

log = logging.getLogger(__name__)


class Receipt(TypedDict):
    """Where a message is; small and without secrets, so that it can be an XCom.

    `channel` (its id) and `ts` (the message's name in it) are known only of a bot's posts.
    """

    posted: Literal["slack", "log"]
    channel: str | None
    ts: str | None
    text: str


def notify(
    message: Message, connection: Connection | None, picture: Callable[[], bytes | None] | None = None
) -> Receipt:
    """Tell people: in the task's log always, and in Slack where there is a connection.

    Raises SlackError, and then it may be called again: a bot looks first whether the message is there.
    `picture` makes a PNG file that a bot adds to the message it has just posted, if it may.
    """
    log.info("%s", message)
    if connection is None:
        log.info("Told in this log only: there is no Airflow connection %s.", CONNECTION)
        return Receipt(posted="log", channel=None, ts=None, text=str(message))
    to = destination(connection)
    place, thread = _posted_already(message, to)
    if place:
        log.info("It is in Slack already, channel %s: not posted again.", place.channel)
        return _receipt(message, place)
    place = post(message, to, thread)
    log.info("Posted to Slack%s.", f", channel {place.channel}" if place.channel else "")
    if picture and isinstance(to, Bot):
        _add(picture, thread or place, to)
    return _receipt(message, place)


def _posted_already(message: Message, to: Bot | Webhook) -> tuple[Place | None, Place | None]:
    """Where an earlier try has left the message, and where its thread begins.

    Where that cannot be seen: nowhere, for twice is better than never.
    """
    if message.mark is None or isinstance(to, Webhook):
        return None, None
    try:
        return find(message.mark, to)
    except SlackRefused as refused:
        log.warning("Whether an earlier try has posted it cannot be seen. %s", refused)
        return None, None


def _add(picture: Callable[[], bytes | None], thread: Place, to: Bot) -> None:
    """Whatever goes wrong is only logged: the message is there, and no other try would come this far."""
    try:
        if content := picture():
            attach("run.png", "The start run", content, thread, to)
            log.info("Its picture is in the thread.")
    except Exception as error:
        log.warning("It is without a picture. %s: %s", type(error).__name__, error)


def _receipt(message: Message, place: Place) -> Receipt:
    return Receipt(posted="slack", channel=place.channel, ts=place.ts, text=str(message))


# ------------------------------------------------------------------------------------------------ by hand


@dataclass(frozen=True)
class _Typed:
    """A connection made of environment variables."""

    password: str | None = field(repr=False)
    extra: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Post a test message with what the environment says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.slack_notify",
        description=f"Post a test message to Slack, to try what shall go into the connection {CONNECTION}.",
        epilog="Environment: SLACK_TOKEN (xoxb-…) and SLACK_CHANNEL (C0123456789 or #cpu), or"
        " SLACK_WEBHOOK_URL; SLACK_BASE_URL for another server than Slack's. A bot needs the scopes"
        " chat:write; channels:history, for a private channel groups:history, to tell each thing once and in"
        " threads; files:write for pictures. Its message is looked for again, and standard error says what"
        " is missing where it is not found. Exit codes: 0 posted (where to is printed as JSON); 1 Slack is"
        " away, try again; 2 the variables are wrong or Slack says no; 130 interrupted.",
    )
    parser.add_argument("--text", default="Cluster CPU can post here: this is a test.", help="what to post")
    text = "\n".join(visible(line) for line in parser.parse_args(argv).text.splitlines())
    token, webhook = os.environ.get("SLACK_TOKEN"), os.environ.get("SLACK_WEBHOOK_URL")
    if bool(token) == bool(webhook):
        parser.error("set either SLACK_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL")
    if not text.strip():
        parser.error("--text is empty: give it something to say")
    extra = {"channel": os.environ.get("SLACK_CHANNEL", ""), "base_url": os.environ.get("SLACK_BASE_URL", "")}
    mark = Mark(f"by-hand-{token_hex(4)}", "test", time.time())
    message = Message(text, mark=mark)
    try:
        to = destination(_Typed(token or webhook, json.dumps(extra)))
        place = post(message, to)
    except SlackError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SlackRefused) else 1
    print(json.dumps(_receipt(message, place), ensure_ascii=False))
    if isinstance(to, Bot) and (missing := _not_found_again(mark, to)):
        print(f"No threads, and an answer may be posted twice. {missing}", file=sys.stderr)
    return 0


def _not_found_again(mark: Mark, to: Bot) -> str | None:
    try:
        return None if find(mark, to)[0] else "The message just posted is not in the channel's history."
    except SlackError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(ended(main))

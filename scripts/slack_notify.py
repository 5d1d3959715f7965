"""Post a message about a start run to Slack, or only to the task's log if there is no connection.

    answer = Answer.from_result(result, link=dag_run_link(base_url, dag_id, run_id))
    receipt = notify(answer_message(answer), connection())

The Airflow connection `slack_cpu` is one of two things:

| password                                   | extra                        | posts                        |
|--------------------------------------------|------------------------------|------------------------------|
| a bot token, `xoxb-…`                      | `{"channel": "C0123456789"}` | to that channel, in threads  |
| an incoming webhook's address, `https://…` | -                            | to the webhook's own channel |

`base_url` in the extra sends either of them to another server: a gateway, or the stand-in of the tests.
docs/slack.md tells how to make the connection and which scopes a bot needs. To try yours without Airflow:
`python -m scripts.slack_notify --help`.
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

from scripts.command import run_command
from scripts.slack.api import MessageId, attach, find, post
from scripts.slack.connection import CONNECTION, Bot, Connection, Webhook, destination
from scripts.slack.errors import SlackError, SlackRefused
from scripts.slack.messages import Mark, Message
from scripts.text import visible

log = logging.getLogger(__name__)


class Receipt(TypedDict):
    """Where a message was posted; small and without secrets, so that it can be an XCom.

    `channel` (its id) and `ts` (the message's timestamp) are None unless a bot posted it.
    """

    posted: Literal["slack", "log"]
    channel: str | None
    ts: str | None
    text: str


def notify(
    message: Message, connection: Connection | None, make_picture: Callable[[], bytes | None] | None = None
) -> Receipt:
    """Log a message, and post it to Slack if there is a connection.

    Raises SlackError. It is safe to call again: a bot first looks for the message, and posts it only if it
    is missing. `make_picture` returns a PNG file, which a bot adds to the thread after it has posted.
    """
    log.info("%s", message)
    if connection is None:
        log.info("Not posted to Slack: there is no Airflow connection %s.", CONNECTION)
        return Receipt(posted="log", channel=None, ts=None, text=str(message))
    to = destination(connection)
    earlier, thread = _find_earlier_post(message, to)
    if earlier:
        log.info("Already posted to Slack, channel %s: not posted again.", earlier.channel)
        return _receipt(message, earlier)
    posted = post(message, to, thread)
    log.info("Posted to Slack%s.", f", channel {posted.channel}" if posted.channel else "")
    if make_picture and isinstance(to, Bot):
        _attach_picture(make_picture, thread or posted, to)
    return _receipt(message, posted)


def _find_earlier_post(message: Message, to: Bot | Webhook) -> tuple[MessageId | None, MessageId | None]:
    """Return the message that an earlier try posted, and the first message of its thread; None if not found.

    None as well if Slack does not show what is posted: a duplicate beats a lost answer.
    """
    if message.mark is None or isinstance(to, Webhook):
        return None, None
    try:
        return find(message.mark, to)
    except SlackRefused as refused:
        log.warning("Slack does not show whether an earlier try posted this; posting it. %s", refused)
        return None, None


def _attach_picture(make_picture: Callable[[], bytes | None], thread: MessageId, to: Bot) -> None:
    """Add the picture to the thread, and only log what fails: the message is posted, no retry comes here."""
    try:
        if content := make_picture():
            attach("run.png", "The start run", content, thread, to)
            log.info("Its picture is in the thread.")
    except Exception as error:
        log.warning("Posted without a picture. %s: %s", type(error).__name__, error)


def _receipt(message: Message, posted: MessageId) -> Receipt:
    return Receipt(posted="slack", channel=posted.channel, ts=posted.ts, text=str(message))


# ------------------------------------------------------------------------------------- the command line


@dataclass(frozen=True)
class _EnvironmentConnection:
    """A connection made from environment variables."""

    password: str | None = field(repr=False)
    extra: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Post a test message as the environment variables say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.slack_notify",
        description="Post a test message to Slack, to check a token or a webhook before you put it into the"
        f" Airflow connection {CONNECTION}.",
        epilog="Environment variables: SLACK_TOKEN (xoxb-…) and SLACK_CHANNEL (C0123456789 or #cpu), or"
        " SLACK_WEBHOOK_URL; SLACK_BASE_URL for another server. A bot needs the scopes chat:write;"
        " channels:history, or groups:history for a private channel, to post in threads and each message only"
        " once; files:write to post pictures. After posting, a bot looks for its message in the channel's"
        " history, and standard error names what is missing if it does not find it. Exit codes: 0 posted, and"
        " printed as JSON where; 1 Slack is unavailable, try again; 2 a variable is wrong or Slack refuses;"
        " 130 interrupted.",
    )
    parser.add_argument(
        "--text",
        default="Cluster CPU can post here: this is a test.",
        help="the message (default: %(default)s)",
    )
    text = "\n".join(visible(line) for line in parser.parse_args(argv).text.splitlines())
    token, webhook = os.environ.get("SLACK_TOKEN"), os.environ.get("SLACK_WEBHOOK_URL")
    if bool(token) == bool(webhook):
        parser.error("set either SLACK_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL")
    if not text.strip():
        parser.error("--text is empty: give the message that is to be posted")
    extra = {"channel": os.environ.get("SLACK_CHANNEL", ""), "base_url": os.environ.get("SLACK_BASE_URL", "")}
    mark = Mark(f"by-hand-{token_hex(4)}", "test", time.time())
    message = Message(text, mark=mark)
    try:
        to = destination(_EnvironmentConnection(token or webhook, json.dumps(extra)))
        posted = post(message, to)
    except SlackError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SlackRefused) else 1
    print(json.dumps(_receipt(message, posted), ensure_ascii=False))
    if isinstance(to, Bot) and (reason := _why_not_found(mark, to)):
        print(f"Posted, but without threads, and an answer may be posted twice: {reason}", file=sys.stderr)
    return 0


def _why_not_found(mark: Mark, to: Bot) -> str | None:
    """Return why the message that was just posted cannot be found again, or None if it is found."""
    try:
        return None if find(mark, to)[0] else "the message just posted is not in the channel's history"
    except SlackError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(run_command(main))

"""Where people are told: in Slack, or in the task's log where no Slack is set up.

Data flows one way: the `read` pod's result → `News` → `Message` (both in `messages.py`) → Slack.

    news = News.of(result, link=dag_run_link(base_url, dag_id, run_id))
    return notify(message(news), connection())

The Airflow connection `slack_cpu` is one of two things:

| password                                         | extra                 | posts                          |
|--------------------------------------------------|-----------------------|--------------------------------|
| a bot token, `xoxb-…` (scope `chat:write`)       | `{"channel": "#cpu"}` | to that channel, by name or id |
| an incoming webhook's address, `https://hooks.…` | -                     | to the webhook's own channel   |

`base_url` in the extra sends either of them to another server: a stand-in for Slack, or a gateway.
To try yours by hand: `python -m scripts.slack_notify --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict
from urllib.error import URLError
from urllib.parse import urljoin

from scripts.messages import Message, visible

if TYPE_CHECKING:
    from slack_sdk.http_retry import RetryHandler

CONNECTION = "slack_cpu"
SLACK_API = "https://slack.com/api/"
TIMEOUT = 10  # seconds for Slack to take a connection, and again to answer
RETRIES = 3  # after the first try, whatever the mixture of reasons
LONGEST_WAIT = 60  # seconds: asked to wait longer, the task's own retry is the better place to wait

log = logging.getLogger(__name__)


class SlackError(Exception):
    """Slack has not said that the message is posted. The message never holds a secret."""


class SlackRefused(SlackError):
    """The connection is wrong or Slack says no: trying again cannot help, a person must act."""


class SlackAway(SlackError):
    """Slack is away, too slow or asks for a pause: trying again later may help."""


# ------------------------------------------------------------------------------------- as Slack wants it


def escape(text: str) -> str:
    """`text` as Slack wants literal text. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(message: Message) -> dict[str, Any]:
    """The message as the body of a post.

    `blocks` is what Slack shows: rich text, whose text elements know no markup, no mention and no emoji.
    `text` is for notifications and for whatever shows no blocks.
    """
    shown = [{"type": "text", "text": message.text}]
    if message.link:
        shown += [{"type": "text", "text": "\n"}, {"type": "link", "url": message.link, "text": "DAG run"}]
    section = {"type": "rich_text_section", "elements": shown}
    blocks = [{"type": "rich_text", "elements": [section]}]
    return {"text": escape(str(message)), "blocks": blocks, "mrkdwn": False, "unfurl_links": False}


# ------------------------------------------------------------------------------------------ where it goes


class Connection(Protocol):
    """What is used of an Airflow connection."""

    @property
    def password(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


@dataclass(frozen=True)
class Bot:
    """A bot that posts to `channel` (`#cpu` or `C0123…`), which it has been invited to."""

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
            'the Slack connection has a bot token but no channel: add the extra {"channel": "#cpu"}'
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
            'the Slack connection\'s extra is not a JSON object of strings: write it as {"channel": "#cpu"}'
        )
    return {name: value.strip() for name, value in extra.items()}


# ------------------------------------------------------------------------------------------------ posting


class Receipt(TypedDict):
    """Where a message went; small and without secrets, so that it can be an XCom.

    `channel` (its id) and `ts` (the message's name in it) are known only of a bot's posts.
    """

    posted: Literal["slack", "log"]
    channel: str | None
    ts: str | None
    text: str


def notify(message: Message, connection: Connection | None) -> Receipt:
    """Tell people: in the task's log always, and in Slack where there is a connection. Raises SlackError."""
    log.info("%s", message)
    if connection is None:
        log.info("Told in this log only: there is no Airflow connection %s.", CONNECTION)
        return Receipt(posted="log", channel=None, ts=None, text=str(message))
    receipt = post(message, destination(connection))
    log.info("Posted to Slack%s.", f", channel {receipt['channel']}" if receipt["channel"] else "")
    return receipt


class Answer(NamedTuple):
    """What Slack answers: HTTP status, its own word for what is wrong (none if all is well), where it is."""

    status: int
    error: str | None
    channel: str | None = None
    ts: str | None = None


def post(message: Message, to: Bot | Webhook) -> Receipt:
    """Post once and return where it is. Waits and tries again as Slack asks, within bounds.

    Raises SlackRefused or SlackAway. What may have reached Slack without an answer is not sent again.
    """
    secret = to.token if isinstance(to, Bot) else to.url
    try:
        answer = _ask(to, payload(message))
    except Exception as error:  # the SDK lets anything through; none of it may show a secret
        sent = "" if isinstance(error, URLError) else "; the message may have been posted all the same"
        reason = visible(f"{type(error).__name__}: {error}".replace(secret, "***"))[:300]
        raise SlackAway(f"Slack gives no answer: {reason}{sent}: check the network, then try again") from None
    if answer.error is not None:
        raise _refusal(answer.status, visible(answer.error.replace(secret, "***"))[:300])
    return Receipt(posted="slack", channel=answer.channel, ts=answer.ts, text=str(message))


def _ask(to: Bot | Webhook, body: dict[str, Any]) -> Answer:
    """One post through the SDK, its retries included."""
    from slack_sdk import WebClient, WebhookClient
    from slack_sdk.errors import SlackApiError

    # The SDK tells its logger of the webhook's address, which is a secret: it gets one that keeps quiet.
    quiet = logging.Logger("slack_sdk", logging.CRITICAL)
    how: dict[str, Any] = {"timeout": TIMEOUT, "logger": quiet, "retry_handlers": _retries()}
    if isinstance(to, Webhook):
        said = WebhookClient(to.url, **how).send_dict(body)
        fine = said.status_code == 200 and said.body == "ok"
        return Answer(said.status_code, None if fine else said.body)
    try:
        posted = WebClient(to.token, to.base_url, **how).chat_postMessage(channel=to.channel, **body)
    except SlackApiError as error:
        return Answer(error.response.status_code, str(error.response.get("error")))
    return Answer(posted.status_code, None, posted["channel"], posted["ts"])


def _retries() -> list[RetryHandler]:
    """The SDK's own retries, bounded: at most RETRIES of them, at most LONGEST_WAIT seconds for each."""
    from slack_sdk.http_retry import builtin_handlers as sdk
    from slack_sdk.http_retry.request import HttpRequest
    from slack_sdk.http_retry.response import HttpResponse
    from slack_sdk.http_retry.state import RetryState

    class RateLimit(sdk.RateLimitErrorRetryHandler):
        def _can_retry(
            self,
            *,
            state: RetryState,
            request: HttpRequest,
            response: HttpResponse | None = None,
            error: Exception | None = None,
        ) -> bool:
            if response is None or response.status_code != 429:
                return False
            headers = {name.lower(): values[0] for name, values in response.headers.items()}
            wait = headers.get("retry-after", "1")
            return wait.isdecimal() and int(wait) <= LONGEST_WAIT

    # urllib wraps in URLError what fails before a request is sent whole; after that Slack may have it.
    unsent = sdk.ConnectionErrorRetryHandler(RETRIES, error_types=[URLError])
    return [RateLimit(RETRIES), sdk.ServerErrorRetryHandler(RETRIES), unsent]


# https://docs.slack.dev/reference/methods/chat.postMessage#errors and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_PASSING = {
    "accesslimited", "fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout",
    "rollup_error", "service_unavailable", "team_added_to_org",
}  # fmt: skip
_NEW_TOKEN = "copy the bot token again from your app's page, OAuth & Permissions"  # noqa: S105 - a remedy
_NEW_HOOK = "make a new webhook on your app's page, Incoming Webhooks, and put its address in the connection"
_UNARCHIVE = "unarchive the channel or name another"
_REMEDIES = {
    "account_inactive": _NEW_TOKEN,
    "action_prohibited": "ask a workspace admin to allow the app to post there",
    "channel_is_archived": _UNARCHIVE,
    "channel_not_found": "correct the channel in the connection's extra, or /invite the bot if it is private",
    "invalid_auth": _NEW_TOKEN,
    "invalid_token": _NEW_HOOK,
    "is_archived": _UNARCHIVE,
    "missing_scope": "give the app the scope chat:write and install it again",
    "no_active_hooks": _NEW_HOOK,
    "no_service": _NEW_HOOK,
    "no_team": _NEW_HOOK,
    "not_authed": _NEW_TOKEN,
    "not_in_channel": "/invite the bot to the channel",
    "restricted_action": "ask a workspace admin to allow the app to post there",
    "token_expired": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
}


def _refusal(status: int, error: str) -> SlackError:
    if status == 429 or status >= 500 or error in _PASSING:
        return SlackAway(f"Slack does not take the message now (HTTP {status}, {error}): try again later")
    remedy = _REMEDIES.get(error, "see https://docs.slack.dev/reference/methods/chat.postMessage#errors")
    return SlackRefused(f"Slack refuses the message (HTTP {status}, {error}): {remedy}")


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
        epilog="Environment: SLACK_TOKEN (xoxb-…) and SLACK_CHANNEL (#cpu), or SLACK_WEBHOOK_URL;"
        " SLACK_BASE_URL for another server than Slack's. Exit codes: 0 posted (where to is printed as JSON);"
        " 1 Slack is away, try again; 2 the variables are wrong or Slack refuses them.",
    )
    parser.add_argument("--text", default="Cluster CPU can post here: this is a test.", help="what to post")
    text = "\n".join(visible(line) for line in parser.parse_args(argv).text.splitlines())
    token, webhook = os.environ.get("SLACK_TOKEN"), os.environ.get("SLACK_WEBHOOK_URL")
    if bool(token) == bool(webhook):
        parser.error("set either SLACK_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL")
    if not text.strip():
        parser.error("--text is empty: give it something to say")
    extra = {"channel": os.environ.get("SLACK_CHANNEL", ""), "base_url": os.environ.get("SLACK_BASE_URL", "")}
    try:
        receipt = post(Message(text), destination(_Typed(token or webhook, json.dumps(extra))))
    except SlackError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SlackRefused) else 1
    print(json.dumps(receipt, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

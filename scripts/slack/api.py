"""Calls to Slack: post a message, find a posted one, attach a file to a thread.

A message that must be posted only once carries its mark as Slack's message metadata, which people do not see:
https://docs.slack.dev/messaging/message-metadata
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError

from scripts.slack.blocks import payload
from scripts.slack.connection import Bot, Webhook
from scripts.slack.errors import (
    ATTACH_REMEDIES,
    FIND_REMEDIES,
    POST_REMEDIES,
    SlackError,
    SlackUnavailable,
    error_in,
    refusal,
    webhook_refusal,
)
from scripts.slack.messages import STARTED, Mark, Message
from scripts.text import visible

if TYPE_CHECKING:
    from slack_sdk import WebClient
    from slack_sdk.web import SlackResponse

TIMEOUT = 10
"""Seconds for Slack to accept a connection, and again to answer.

Far less than Airflow waits before it takes a task for dead, so that two tries never post at the same time.
"""
EVENT_TYPE = "cluster_cpu"
PAGE_SIZE = 200
"""Messages; https://docs.slack.dev/reference/methods/conversations.history recommends no more."""
MAX_CLOCK_SKEW = 600
"""Seconds that Airflow's clock and Slack's may differ."""
MAX_ERROR_LENGTH = 300  # characters

log = logging.getLogger(__name__)

_MAYBE_POSTED = "; the message may have been posted anyway"


class MessageId(NamedTuple):
    """A message in Slack: its channel's id and its timestamp; both None if Slack does not say (a webhook)."""

    channel: str | None
    ts: str | None


def post(message: Message, to: Bot | Webhook, thread: MessageId | None = None) -> MessageId:
    """Post a message with a single request. A reply to a thread is shown in the channel too.

    Raises SlackRefused, or SlackUnavailable, after which the message may have been posted anyway.
    """
    from slack_sdk import WebhookClient

    with _translated_errors(to, POST_REMEDIES, _MAYBE_POSTED):
        if isinstance(to, Bot):
            body = {"channel": to.channel, **payload(message)}
            if message.mark:
                body["metadata"] = _metadata(message.mark)
            if thread:
                body |= {"thread_ts": thread.ts, "reply_broadcast": True}
            posted = _client(to).chat_postMessage(**body)
            return MessageId(posted["channel"], posted["ts"])
        response = WebhookClient(to.url, **_client_options()).send_dict(payload(message))
        status, headers = response.status_code, response.headers
        if not 200 <= status < 300:
            raise refusal(status, _redacted(response.body, to), headers, POST_REMEDIES, _MAYBE_POSTED)
        if error := error_in(response.body):
            raise webhook_refusal(status, _redacted(error, to), headers, _MAYBE_POSTED)
        log.info("The webhook answered HTTP %d, %r.", status, _redacted(response.body, to))
        return MessageId(None, None)


def find(mark: Mark, to: Bot) -> tuple[MessageId | None, MessageId | None]:
    """Return the message with that mark, and the first message of its start run's thread; None if not found.

    Raises SlackUnavailable, or SlackRefused if Slack does not show the channel's history: that takes the
    channel's id, not its name, and a scope.
    """
    start_mark = replace(mark, kind=STARTED, about="")
    thread = None
    with _translated_errors(to, FIND_REMEDIES):
        client = _client(to)
        query: dict[str, Any] = {"channel": to.channel, "limit": PAGE_SIZE, "include_all_metadata": True}
        oldest = f"{max(mark.since - MAX_CLOCK_SKEW, 0):.6f}"
        for found in _messages(client.conversations_history(**query, oldest=oldest)):
            if _has_mark(found, mark):
                return MessageId(to.channel, found["ts"]), thread
            if _has_mark(found, start_mark):
                thread = MessageId(to.channel, found["ts"])
        if thread is None:
            return None, None
        for found in _messages(client.conversations_replies(**query | {"ts": thread.ts})):
            if _has_mark(found, mark):
                return MessageId(to.channel, found["ts"]), thread
    return None, thread


def attach(name: str, title: str, content: bytes, thread: MessageId, to: Bot) -> None:
    """Add a file to a thread. Raises SlackRefused or SlackUnavailable."""
    with _translated_errors(to, ATTACH_REMEDIES):
        _client(to).files_upload_v2(
            filename=name, title=title, content=content, channel=thread.channel, thread_ts=thread.ts
        )


def _messages(pages: SlackResponse) -> Iterator[dict[str, Any]]:
    for page in pages:
        yield from page["messages"]


def _has_mark(message: dict[str, Any], mark: Mark) -> bool:
    return _metadata(mark).items() <= (message.get("metadata") or {}).items()


def _metadata(mark: Mark) -> dict[str, Any]:
    about = {"about": mark.about} if mark.about else {}
    # The key of the kind is "news" in the messages that are already posted.
    return {"event_type": EVENT_TYPE, "event_payload": {"start": mark.start, "news": mark.kind, **about}}


def _client(to: Bot) -> WebClient:
    from slack_sdk import WebClient

    return WebClient(to.token, to.base_url, **_client_options())


def _client_options() -> dict[str, Any]:
    """Return options for the SDK: no retries; a silent logger, as it would log the webhook's secret URL."""
    logger = logging.Logger("slack_sdk", logging.CRITICAL)
    return {"timeout": TIMEOUT, "logger": logger, "retry_handlers": []}


@contextmanager
def _translated_errors(to: Bot | Webhook, remedies: dict[str, str], unsure: str = "") -> Iterator[None]:
    """Turn any exception into a SlackError that shows no secret.

    `remedies`: what helps against each of Slack's errors. `unsure`: added if Slack may have done it anyway.
    """
    from slack_sdk.errors import SlackApiError

    try:
        yield
    except SlackError:
        raise
    except SlackApiError as error:
        response = error.response
        text = str(response["error"]) if isinstance(response.data, dict) else repr(response.data)
        raise refusal(response.status_code, _redacted(text, to), response.headers, remedies, unsure) from None
    except Exception as error:  # the SDK passes on whatever urllib and json raise
        # urllib raises URLError if the request was not sent completely; later, Slack may have received it.
        unsure = "" if isinstance(error, URLError) else unsure
        reason = _redacted(f"{type(error).__name__}: {error}", to)
        raise SlackUnavailable(
            f"No answer from Slack: {reason}{unsure}: check the network, then try again"
        ) from None


def _redacted(text: str, to: Bot | Webhook) -> str:
    """Return `text` on one line, shortened, with the secret replaced."""
    return visible(text.replace(to.token if isinstance(to, Bot) else to.url, "***"))[:MAX_ERROR_LENGTH]

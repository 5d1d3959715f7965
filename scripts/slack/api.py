"""The calls: post a message, find one that is posted already, and attach a file to a thread.

A message that must be there once carries its mark as Slack's message metadata, which people do not see:
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
    ATTACHING,
    LOOKING,
    POSTING,
    SlackAway,
    SlackError,
    error_in,
    not_posted,
    refusal,
)
from scripts.slack.messages import STARTED, Mark, Message
from scripts.text import visible

if TYPE_CHECKING:
    from slack_sdk import WebClient
    from slack_sdk.web import SlackResponse

# Seconds for Slack to take a connection, and again to answer. A try is over long before Airflow takes it for
# dead, so that no two tries look and post at the same time.
TIMEOUT = 10
EVENT = "cluster_cpu"
PAGE = 200  # messages; https://docs.slack.dev/reference/methods/conversations.history recommends no more
CLOCKS_DIFFER = 600  # seconds, at most, between Airflow's clock and Slack's

log = logging.getLogger(__name__)

_UNSURE = "; the message may have been posted all the same"


class Place(NamedTuple):
    """Where a message is: the channel's id and the message's name in it; None where Slack does not say."""

    channel: str | None
    ts: str | None


def post(message: Message, to: Bot | Webhook, thread: Place | None = None) -> Place:
    """Post once, whatever comes of it; in a thread where there is one, and the channel sees it all the same.

    Raises SlackRefused, or SlackAway: it may be there all the same.
    """
    from slack_sdk import WebhookClient

    with _clearly(to, POSTING, _UNSURE):
        if isinstance(to, Bot):
            body = {"channel": to.channel, **payload(message), **_marked(message), **_in(thread)}
            posted = _client(to).chat_postMessage(**body)
            return Place(posted["channel"], posted["ts"])
        said = WebhookClient(to.url, **_quietly()).send_dict(payload(message))
        if 200 <= said.status_code < 300:
            if word := error_in(said.body):
                raise not_posted(said.status_code, _hidden(word, to), said.headers, _UNSURE)
            log.info("The webhook answers HTTP %d, %r.", said.status_code, _hidden(said.body, to))
            return Place(None, None)
        raise refusal(said.status_code, _hidden(said.body, to), said.headers, POSTING, _UNSURE)


def find(mark: Mark, to: Bot) -> tuple[Place | None, Place | None]:
    """Where the message with that mark is, and where the thread of its start run begins; None where nowhere.

    Raises SlackRefused where Slack does not show the channel, which wants its id and a scope, or SlackAway.
    """
    begin = replace(mark, news=STARTED, about="")
    thread = None
    with _clearly(to, LOOKING):
        client = _client(to)
        pages: dict[str, Any] = {"channel": to.channel, "limit": PAGE, "include_all_metadata": True}
        oldest = f"{max(mark.since - CLOCKS_DIFFER, 0):.6f}"
        for said in _messages(client.conversations_history(**pages, oldest=oldest)):
            if _carries(said, mark):
                return Place(to.channel, said["ts"]), thread
            if _carries(said, begin):
                thread = Place(to.channel, said["ts"])
        if thread is None:
            return None, None
        for said in _messages(client.conversations_replies(**pages | {"ts": thread.ts})):
            if _carries(said, mark):
                return Place(to.channel, said["ts"]), thread
    return None, thread


def attach(name: str, title: str, content: bytes, thread: Place, to: Bot) -> None:
    """Add a file to the thread that begins there. Raises SlackRefused or SlackAway."""
    with _clearly(to, ATTACHING):
        _client(to).files_upload_v2(
            filename=name, title=title, content=content, channel=thread.channel, thread_ts=thread.ts
        )


def _messages(pages: SlackResponse) -> Iterator[dict[str, Any]]:
    for page in pages:
        yield from page["messages"]


def _carries(said: dict[str, Any], mark: Mark) -> bool:
    return _metadata(mark).items() <= (said.get("metadata") or {}).items()


def _in(thread: Place | None) -> dict[str, Any]:
    return {"thread_ts": thread.ts, "reply_broadcast": True} if thread else {}


def _marked(message: Message) -> dict[str, Any]:
    return {"metadata": _metadata(message.mark)} if message.mark else {}


def _metadata(mark: Mark) -> dict[str, Any]:
    about = {"about": mark.about} if mark.about else {}
    return {"event_type": EVENT, "event_payload": {"start": mark.start, "news": mark.news, **about}}


def _client(to: Bot) -> WebClient:
    from slack_sdk import WebClient

    return WebClient(to.token, to.base_url, **_quietly())


def _quietly() -> dict[str, Any]:
    """How the SDK is to ask: once, and without telling a log of the webhook's address, which is a secret."""
    logger = logging.Logger("slack_sdk", logging.CRITICAL)
    return {"timeout": TIMEOUT, "logger": logger, "retry_handlers": []}


@contextmanager
def _clearly(to: Bot | Webhook, remedies: dict[str, str], unsure: str = "") -> Iterator[None]:
    """Whatever goes wrong inside, as a SlackError that shows no secret."""
    from slack_sdk.errors import SlackApiError

    try:
        yield
    except SlackError:
        raise
    except SlackApiError as error:
        answer = error.response
        word = _hidden(str(answer["error"]) if isinstance(answer.data, dict) else repr(answer.data), to)
        raise refusal(answer.status_code, word, answer.headers, remedies, unsure) from None
    except Exception as error:  # the SDK lets anything through
        # urllib wraps in URLError what fails before a request is sent whole; after that Slack may have it.
        sent = "" if isinstance(error, URLError) else unsure
        reason = _hidden(f"{type(error).__name__}: {error}", to)
        raise SlackAway(f"Slack gives no answer: {reason}{sent}: check the network, then try again") from None


def _hidden(text: str, to: Bot | Webhook) -> str:
    """`text` on one line, without the secret, and not too long."""
    return visible(text.replace(to.token if isinstance(to, Bot) else to.url, "***"))[:300]

"""The two calls: post a message, and find one that is posted already.

A message that must be there once carries its mark as Slack's message metadata, which people do not see:
https://docs.slack.dev/messaging/message-metadata
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError

from scripts.messages import Mark, Message, visible
from scripts.slack.connection import Bot, Webhook
from scripts.slack.errors import LOOKING, POSTING, SlackAway, SlackError, refusal

if TYPE_CHECKING:
    from slack_sdk import WebClient

# Seconds for Slack to take a connection, and again to answer. A try is over long before Airflow takes it for
# dead, so that no two tries look and post at the same time.
TIMEOUT = 10
EVENT = "cluster_cpu"
PAGE = 200  # messages; https://docs.slack.dev/reference/methods/conversations.history recommends no more
CLOCKS_DIFFER = 600  # seconds, at most, between Airflow's clock and Slack's

_UNSURE = "; the message may have been posted all the same"


class Place(NamedTuple):
    """Where a message is: the channel's id and the message's name in it; None where Slack does not say."""

    channel: str | None
    ts: str | None


def post(message: Message, to: Bot | Webhook) -> Place:
    """Post once, whatever comes of it. Raises SlackRefused, or SlackAway: it may be there all the same."""
    from slack_sdk import WebhookClient

    with _clearly(to, POSTING, _UNSURE):
        if isinstance(to, Bot):
            posted = _client(to).chat_postMessage(channel=to.channel, **payload(message), **_marked(message))
            return Place(posted["channel"], posted["ts"])
        said = WebhookClient(to.url, **_quietly()).send_dict(payload(message))
        if (said.status_code, said.body) == (200, "ok"):
            return Place(None, None)
        word = _hidden(repr(said.body) if said.status_code == 200 else said.body, to)
        raise refusal(said.status_code, word, said.headers, POSTING, _UNSURE)


def find(mark: Mark, to: Bot) -> Place | None:
    """Where the message with that mark is; None where the channel has none.

    Raises SlackRefused where Slack does not show the channel, which wants its id and a scope, or SlackAway.
    """
    with _clearly(to, LOOKING):
        pages = _client(to).conversations_history(
            channel=to.channel,
            oldest=f"{max(mark.since - CLOCKS_DIFFER, 0):.6f}",
            limit=PAGE,
            include_all_metadata=True,
        )
        for page in pages:
            for said in page["messages"]:
                if _metadata(mark).items() <= (said.get("metadata") or {}).items():
                    return Place(to.channel, said["ts"])
    return None


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


def escape(text: str) -> str:
    """`text` as Slack wants literal text. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _marked(message: Message) -> dict[str, Any]:
    return {"metadata": _metadata(message.mark)} if message.mark else {}


def _metadata(mark: Mark) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"start": mark.start, "news": mark.news}}


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

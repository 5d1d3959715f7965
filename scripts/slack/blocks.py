"""A message as the body of a post: blocks that take nothing in it for markup, and text for what shows none.

https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import re
from typing import Any

from scripts.slack.messages import Message


def payload(message: Message) -> dict[str, Any]:
    """The message as the body of a post.

    `blocks` is what Slack shows: a headline and rich text, whose text elements know no markup, no mention and
    no emoji. `text` is for notifications and for whatever shows no blocks.
    """
    headline, _, details = message.text.partition("\n")
    below = [
        *([_section(_text(details))] if details else []),
        *([{"type": "rich_text_preformatted", "elements": [_text(message.code)]}] if message.code else []),
        *([_section({"type": "link", "url": message.link, "text": "DAG run"})] if message.link else []),
    ]
    blocks = [_headline(headline), *([{"type": "rich_text", "elements": below}] if below else [])]
    # Or else Slack would fetch what the text names: the DAG run's page, a picture in an error.
    unfurl = {"unfurl_links": False, "unfurl_media": False}
    return {"text": escape(str(message)), "blocks": blocks, "mrkdwn": False, **unfurl}


def escape(text: str) -> str:
    """`text` as Slack wants literal text. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(text: str) -> dict[str, Any]:
    """A header where that surely shows it all as it is: up to 150 characters, none of them of an entity."""
    if re.fullmatch("[^<>&]{1,150}", text):
        return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}
    return {"type": "rich_text", "elements": [_section(_text(text) | {"style": {"bold": True}})]}


def _section(element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": [element]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}

"""A message as the body of a post: blocks that interpret no markup, and plain text.

https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import re
from typing import Any

from scripts.slack.messages import Message


def payload(message: Message) -> dict[str, Any]:
    """Return the body of a post.

    `blocks` is what Slack shows: a headline and rich text, whose text elements interpret no markup, no
    mention and no emoji. `text` is for notifications and for clients that show no blocks.
    """
    headline, _, details = message.text.partition("\n")
    below = [
        *([_section(_text(details))] if details else []),
        *([{"type": "rich_text_preformatted", "elements": [_text(message.code)]}] if message.code else []),
        *([_section({"type": "link", "url": message.link, "text": "DAG run"})] if message.link else []),
    ]
    blocks = [_headline(headline), *([{"type": "rich_text", "elements": below}] if below else [])]
    # Otherwise Slack would fetch URLs in the text: the DAG run's page, or one in an error message.
    unfurl = {"unfurl_links": False, "unfurl_media": False}
    return {"text": escape(str(message)), "blocks": blocks, "mrkdwn": False, **unfurl}


def escape(text: str) -> str:
    """Return `text` escaped so that Slack shows it literally. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(text: str) -> dict[str, Any]:
    """Return a header block if it shows the text literally: at most 150 characters, none to be escaped."""
    if re.fullmatch("[^<>&]{1,150}", text):
        return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}
    return {"type": "rich_text", "elements": [_section(_text(text) | {"style": {"bold": True}})]}


def _section(element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": [element]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}

"""What Slack takes and what it refuses, in its words, and what a reader then sees."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_TEXT = 40_000  # https://docs.slack.dev/changelog/2018-truncating-really-long-messages
MAX_BLOCKS = 50  # https://docs.slack.dev/reference/block-kit/blocks
MAX_PAGE = 999  # https://docs.slack.dev/reference/methods/conversations.history
MAX_SECTION_TEXT = 3_000  # https://docs.slack.dev/reference/block-kit/blocks/section-block


class Refusal(Exception):
    """Slack's own word for what is wrong with a request, and what else its answer holds."""

    def __init__(self, word: str, **more: str) -> None:
        super().__init__(word)
        self.more = more


def checked(raw: bytes, otherwise: str) -> dict[str, Any]:
    """The body of a post if Slack would take it; raises Refusal."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise Refusal(otherwise) from None
    if not isinstance(body, dict):
        raise Refusal(otherwise)
    text, blocks = body.get("text", ""), body.get("blocks", [])
    if not text and not blocks:
        raise Refusal("no_text")
    if len(text) > MAX_TEXT:
        raise Refusal("msg_too_long")
    if len(blocks) > MAX_BLOCKS or not all(_well_formed(block) for block in blocks):
        raise Refusal("invalid_blocks")
    if "metadata" in body and not _is_metadata(body["metadata"]):
        raise Refusal("invalid_metadata_format")
    return body


def _is_metadata(metadata: Any) -> bool:
    """Whether it is message metadata, as https://docs.slack.dev/reference/metadata wants it."""
    match metadata:
        case {"event_type": str(kind), "event_payload": dict(values)}:
            plain = all(isinstance(value, str | int | float | bool) for value in values.values())
            return re.fullmatch("[A-Za-z0-9_]+", kind) is not None and plain
        case _:
            return False


def page_of(messages: list[dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
    """What conversations.history answers, newest first, of `messages`, oldest first; raises Refusal.

    https://docs.slack.dev/reference/methods/conversations.history
    """
    oldest, limit, before = asked.get("oldest", "0"), asked.get("limit", "100"), asked.get("cursor")
    if not re.fullmatch(r"\d+(\.\d{1,6})?", oldest):
        raise Refusal("invalid_ts_oldest")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise Refusal("invalid_limit")
    if before and before not in [message["ts"] for message in messages]:
        raise Refusal("invalid_cursor")
    wanted = [
        message if asked.get("include_all_metadata") in ("1", "true") else _without_payload(message)
        for message in reversed(messages)
        if float(message["ts"]) > float(oldest) and (not before or message["ts"] < before)
    ]
    page, more = wanted[: int(limit)], len(wanted) > int(limit)
    answer: dict[str, Any] = {"ok": True, "messages": page, "has_more": more}
    return answer | ({"response_metadata": {"next_cursor": page[-1]["ts"]}} if more else {})


def _without_payload(message: dict[str, Any]) -> dict[str, Any]:
    if "metadata" not in message:
        return message
    return message | {"metadata": {"event_type": message["metadata"]["event_type"]}}


def _well_formed(block: Any) -> bool:
    match block:
        case {"type": "section", "text": {"type": "plain_text" | "mrkdwn", "text": str(text)}}:
            return 0 < len(text) <= MAX_SECTION_TEXT
        case {"type": "rich_text", "elements": [*parts]}:
            return all(_well_formed(part) for part in parts)
        case {"type": "rich_text_section" | "rich_text_preformatted", "elements": [*parts]}:
            return all(_well_formed(part) for part in parts)
        case {"type": "text", "text": str(text)}:
            return text != ""
        case {"type": "link", "url": str(url)}:
            return url != ""
        case _:
            return False


def shown(body: dict[str, Any]) -> str:
    """What a reader sees, as plain text: the blocks if there are any, otherwise the text."""
    if blocks := body.get("blocks"):
        return "\n".join(_plain(block) for block in blocks)
    return unescape(body["text"])


def unescape(text: str) -> str:
    """The three entities that Slack knows, as the characters they stand for."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _plain(part: dict[str, Any]) -> str:
    match part:
        case {"elements": parts}:
            return "".join(_plain(inner) for inner in parts)
        case {"type": "link", "url": url}:
            return f"{part['text']} ({url})" if "text" in part else str(url)
        case {"type": "section", "text": {"text": text}} | {"text": text}:
            return str(text)
        case _:
            return ""

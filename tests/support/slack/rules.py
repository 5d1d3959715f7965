"""What Slack accepts, what it refuses and with which error, and what a reader sees."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_TEXT = 40_000  # https://docs.slack.dev/changelog/2018-truncating-really-long-messages
MAX_BLOCKS = 50  # https://docs.slack.dev/reference/block-kit/blocks
MAX_PAGE = 999  # https://docs.slack.dev/reference/methods/conversations.history
MAX_SECTION_TEXT = 3_000  # https://docs.slack.dev/reference/block-kit/blocks/section-block
MAX_HEADER_TEXT = 150  # https://docs.slack.dev/reference/block-kit/blocks/header-block
# Slack does not document the limit for all blocks of a message; users have found about this.
MAX_BLOCKS_TEXT = 13_200


class Refusal(Exception):
    """Slack's error for a request, and the other fields of its answer."""

    def __init__(self, word: str, **more: str) -> None:
        super().__init__(word)
        self.more = more


def checked(raw: bytes, otherwise: str) -> dict[str, Any]:
    """Return the body of a post. Raises Refusal, with the error `otherwise` if it is no JSON object."""
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
    if len(json.dumps(blocks, ensure_ascii=False)) > MAX_BLOCKS_TEXT:
        raise Refusal("msg_blocks_too_long")
    if "thread_ts" in body and not is_ts(body["thread_ts"]):
        raise Refusal("invalid_thread_ts")
    if "reply_broadcast" in body and not ("thread_ts" in body and isinstance(body["reply_broadcast"], bool)):
        raise Refusal("invalid_arguments")
    if "metadata" in body and not _is_metadata(body["metadata"]):
        raise Refusal("invalid_metadata_format")
    return body


def is_ts(ts: Any) -> bool:
    """Return whether it is a message's timestamp."""
    return isinstance(ts, str) and re.fullmatch(r"\d{10}\.\d{6}", ts) is not None


def _is_metadata(metadata: Any) -> bool:
    """Return whether it is message metadata: https://docs.slack.dev/reference/metadata"""
    match metadata:
        case {"event_type": str(kind), "event_payload": dict(values)}:
            plain = all(isinstance(value, str | int | float | bool) for value in values.values())
            return re.fullmatch("[A-Za-z0-9_]+", kind) is not None and plain
        case _:
            return False


def page_of(messages: list[dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
    """Return the answer of conversations.history or conversations.replies. Raises Refusal.

    https://docs.slack.dev/reference/methods/conversations.history
    """
    oldest, limit, cursor = asked.get("oldest", "0"), asked.get("limit", "100"), asked.get("cursor")
    if not re.fullmatch(r"\d+(\.\d{1,6})?", oldest):
        raise Refusal("invalid_ts_oldest")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise Refusal("invalid_limit")
    names = [message["ts"] for message in messages]
    if cursor and cursor not in names:
        raise Refusal("invalid_cursor")
    wanted = [
        message if asked.get("include_all_metadata") in ("1", "true") else _without_payload(message)
        for message in messages[names.index(cursor) + 1 if cursor else 0 :]
        if float(message["ts"]) > float(oldest)
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
        case {"type": "header", "text": {"type": "plain_text"} as text, **more}:
            return not more.keys() - {"block_id"} and _is_text(text, MAX_HEADER_TEXT)
        case {"type": "section", "text": text, **more}:
            return not more.keys() - {"block_id"} and _is_text(text, MAX_SECTION_TEXT)
        case {"type": "rich_text", "elements": [*parts], **more}:
            return not more.keys() - {"block_id"} and bool(parts) and all(_is_part(part) for part in parts)
        case _:
            return False


def _is_text(text: Any, most: int) -> bool:
    """https://docs.slack.dev/reference/block-kit/composition-objects/text-object"""
    match text:
        case {"type": "plain_text", "text": str(content), **more}:
            return 0 < len(content) <= most and isinstance(more.pop("emoji", False), bool) and not more
        case {"type": "mrkdwn", "text": str(content), **more}:
            return 0 < len(content) <= most and isinstance(more.pop("verbatim", False), bool) and not more
        case _:
            return False


def _is_part(part: Any) -> bool:
    """https://docs.slack.dev/reference/block-kit/blocks/rich-text-block"""
    match part:
        case {"type": "rich_text_section", "elements": [*elements], **more}:
            return not more and all(_is_element(element) for element in elements)
        case {"type": "rich_text_preformatted", "elements": [*elements], **more}:
            plain = all("style" not in element for element in elements)
            return (
                not more.keys() - {"border"} and plain and all(_is_element(element) for element in elements)
            )
        case _:
            return False


def _is_element(element: Any) -> bool:
    match element:
        case {"type": "text", "text": str(text), **more}:
            return text != "" and _is_style(more.pop("style", {})) and not more
        case {"type": "link", "url": str(url), **more}:
            named = isinstance(more.pop("text", ""), str) and isinstance(more.pop("unsafe", False), bool)
            return url != "" and named and _is_style(more.pop("style", {})) and not more
        case _:
            return False


def _is_style(style: Any) -> bool:
    kinds = {"bold", "italic", "strike", "code", "underline"}
    return isinstance(style, dict) and style.keys() <= kinds and set(style.values()) <= {True, False}


def shown(body: dict[str, Any]) -> str:
    """Return what a reader sees, as plain text: the blocks if there are any, otherwise the text."""
    if blocks := body.get("blocks"):
        return "\n".join(_plain(block) for block in blocks)
    return unescape(body["text"])


def unescape(text: str) -> str:
    """Return the text with Slack's three entities replaced by their characters."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _plain(part: dict[str, Any]) -> str:
    match part:
        case {"type": "rich_text", "elements": parts}:
            return "\n".join(_plain(inner) for inner in parts)
        case {"elements": parts}:
            return "".join(_plain(inner) for inner in parts)
        case {"type": "link", "url": url}:
            return f"{part['text']} ({url})" if "text" in part else str(url)
        case {"type": "section" | "header", "text": {"text": text}} | {"text": text}:
            return str(text)
        case _:
            return ""

"""Messages in the stand-in for Slack: in a channel and in its threads, and as Slack returns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.slack.rules import Refusal


@dataclass(frozen=True)
class Post:
    """An accepted message. `via`: the method or webhook; `shown`: what a reader sees; `body`: as it was sent.

    `thread`: the timestamp of the message that it replies to.
    """

    via: str
    channel: str
    ts: str
    shown: str
    body: dict[str, Any]
    thread: str | None = None

    @property
    def mark(self) -> tuple[str, str] | None:
        """The start run and the kind of the message, or None if it has no mark."""
        mark = self.body.get("metadata", {}).get("event_payload")
        return (mark["start"], mark["news"]) if mark else None

    @property
    def about(self) -> str:
        """What tells it from other messages of the same start run and kind, such as the CPU."""
        return str(self.body.get("metadata", {}).get("event_payload", {}).get("about", ""))

    @property
    def is_answer(self) -> bool:
        """Whether it is an answer, not a start or a failure."""
        return self.mark is not None and self.mark[1] in ("part1", "part2", "none")

    @property
    def is_in_channel(self) -> bool:
        """Whether it is shown in the channel, not only in its thread."""
        return self.thread is None or bool(self.body.get("reply_broadcast"))


def thread_of(posts: Sequence[Post], channel: str, body: dict[str, Any]) -> str | None:
    """Return the thread of a post, or None if it is no reply or the thread's first message is deleted.

    Raises Refusal for a reply to a reply.
    """
    for post in posts:
        if (post.channel, post.ts) == (channel, body.get("thread_ts")):
            if post.thread:
                raise Refusal("cannot_reply_to_message")
            return post.ts
    return None


def history(posts: Sequence[Post], channel: str) -> list[dict[str, Any]]:
    """Return the messages that a channel shows, newest first."""
    return [_as_returned(post) for post in reversed(posts) if post.channel == channel and post.is_in_channel]


def replies(posts: Sequence[Post], channel: str, ts: str | None) -> list[dict[str, Any]]:
    """Return a message and its replies, oldest first."""
    return [_as_returned(post) for post in posts if post.channel == channel and ts in (post.ts, post.thread)]


def _as_returned(post: Post) -> dict[str, Any]:
    message = {"type": "message", "ts": post.ts}
    if post.thread:
        message |= {"thread_ts": post.thread}
        message |= {"subtype": "thread_broadcast"} if post.is_in_channel else {}
    return message | {name: post.body[name] for name in ("text", "blocks", "metadata") if name in post.body}

"""Messages as Slack keeps them, in a channel and in its threads, and as it tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.slack.rules import Refusal


@dataclass(frozen=True)
class Post:
    """An accepted message: which way it came, where it went, its body, and `shown`: what a reader sees.

    `thread`: the message that it replies to.
    """

    via: str
    channel: str
    ts: str
    shown: str
    body: dict[str, Any]
    thread: str | None = None

    @property
    def mark(self) -> tuple[str, str] | None:
        """Which start run it is about, and which news of it, where it says so."""
        about = self.body.get("metadata", {}).get("event_payload")
        return (about["start"], about["news"]) if about else None

    @property
    def about(self) -> str:
        """What tells it from other messages of the same start run and news, such as the CPU."""
        return str(self.body.get("metadata", {}).get("event_payload", {}).get("about", ""))

    @property
    def is_answer(self) -> bool:
        """Whether it is none of the other news: that a start run has begun, or that something has failed."""
        return self.mark is not None and self.mark[1] in ("part1", "part2", "none")

    @property
    def is_in_channel(self) -> bool:
        """Whether one sees it without opening a thread."""
        return self.thread is None or bool(self.body.get("reply_broadcast"))


def thread_of(posts: Sequence[Post], channel: str, body: dict[str, Any]) -> str | None:
    """The thread that a post comes to; none where the message that it replies to is gone. Raises Refusal."""
    for post in posts:
        if (post.channel, post.ts) == (channel, body.get("thread_ts")):
            if post.thread:
                raise Refusal("cannot_reply_to_message")
            return post.ts
    return None


def history(posts: Sequence[Post], channel: str) -> list[dict[str, Any]]:
    """What a channel shows, newest first."""
    return [_told(post) for post in reversed(posts) if post.channel == channel and post.is_in_channel]


def replies(posts: Sequence[Post], channel: str, ts: str | None) -> list[dict[str, Any]]:
    """A message and the thread that it begins, oldest first."""
    return [_told(post) for post in posts if post.channel == channel and ts in (post.ts, post.thread)]


def _told(post: Post) -> dict[str, Any]:
    said = {"type": "message", "ts": post.ts}
    if post.thread:
        said |= {"thread_ts": post.thread}
        said |= {"subtype": "thread_broadcast"} if post.is_in_channel else {}
    return said | {name: post.body[name] for name in ("text", "blocks", "metadata") if name in post.body}

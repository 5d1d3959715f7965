"""A stand-in for Slack on loopback: takes posts, refuses what Slack refuses, and can misbehave on request.

In a test: `with SlackServer() as slack:`, then point `base_url` at `slack.api`, read `slack.posts`.
By hand:   `python tests/slack/server.py --port 9000` prints every accepted post as one JSON line.

Checked as Slack does: token, content type, JSON, channel, text, blocks and their lengths. Not modelled:
scopes, users, threads, attachments, block types other than section and rich_text.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TOKEN = "xoxb-1111111111-2222222222-abcdefghijklmnopqrstuvwx"
WEBHOOK_PATH = "/services/T0CPU/B0CPU/ponmlkjihgfedcba"
CHANNELS = {"#cpu": "C0CPU", "C0CPU": "C0CPU", "#archived": "C0OLD", "#uninvited": "C0FAR"}

MAX_TEXT = 40_000  # https://docs.slack.dev/changelog/2018-truncating-really-long-messages
MAX_BLOCKS = 50  # https://docs.slack.dev/reference/block-kit/blocks
MAX_SECTION_TEXT = 3_000  # https://docs.slack.dev/reference/block-kit/blocks/section-block


@dataclass(frozen=True)
class Post:
    """An accepted message: which way it came, where it went, its body, and `shown`: what a reader sees."""

    via: str
    channel: str
    ts: str | None
    shown: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """Any request, accepted or not."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """What to answer in place of the right answer; `silent` says nothing at all until the server closes.

    `accepts`: the message is posted all the same, and only the answer to it goes wrong.
    """

    status: int = 500
    body: str = "fatal_error"
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    accepts: bool = False


class Refusal(Exception):
    """Slack's own word for what is wrong with a post."""


class SlackServer:
    """Serves from entering to leaving; `faults` are used up one a request, before anything is looked at."""

    def __init__(
        self,
        port: int = 0,
        on_post: Callable[[Post], None] = lambda post: None,
        address: str = "127.0.0.1",
    ) -> None:
        self.posts: list[Post] = []
        self.requests: list[Request] = []
        self.faults: queue.SimpleQueue[Fault] = queue.SimpleQueue()
        self.closing = threading.Event()
        self._on_post = on_post
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"slack": self})
        self._http = ThreadingHTTPServer((address, port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        address, port = self._http.server_address[:2]
        return f"http://{address!s}:{port}"

    @property
    def api(self) -> str:
        """What the SDK calls `base_url`."""
        return f"{self.url}/api/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def accept(self, via: str, channel: str, body: dict[str, Any]) -> Post:
        with self._lock:
            ts = f"1795337245.{len(self.posts):06d}" if via == "chat.postMessage" else None
            post = Post(via, channel, ts, shown(body), body)
            self.posts.append(post)
            self._on_post(post)
        return post


class _Handler(BaseHTTPRequestHandler):
    slack: SlackServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.slack.requests.append(Request(self.path, dict(self.headers), body))
        try:
            fault = self.slack.faults.get_nowait()
        except queue.Empty:
            self._answer(*self._outcome(body))
            return
        if fault.accepts:
            self._outcome(body)
        if fault.silent:
            self.slack.closing.wait()
            self.close_connection = True
        else:
            self._answer(fault.status, fault.body, fault.headers)

    def _outcome(self, body: bytes) -> tuple[int, str]:
        if self.path == "/api/chat.postMessage":
            try:
                return 200, self._api(body)
            except Refusal as refusal:
                return 200, json.dumps({"ok": False, "error": str(refusal)})
        if self.path == WEBHOOK_PATH:
            try:
                return 200, self._webhook(body)
            except Refusal as refusal:
                return 400, str(refusal)
        if self.path.startswith("/services/"):
            return 404, "no_service"
        return 200, json.dumps({"ok": False, "error": "unknown_method"})

    def _api(self, raw: bytes) -> str:
        match self.headers.get("Authorization", "").split():
            case []:
                raise Refusal("not_authed")
            case ["Bearer", token] if token == TOKEN:
                pass
            case _:
                raise Refusal("invalid_auth")
        if self.headers.get_content_type() != "application/json":
            raise Refusal("invalid_post_type")
        body = checked(raw, otherwise="invalid_json")
        channel = CHANNELS.get(str(body.get("channel")))
        if channel is None:
            raise Refusal("channel_not_found")
        if channel == CHANNELS["#archived"]:
            raise Refusal("is_archived")
        if channel == CHANNELS["#uninvited"]:
            raise Refusal("not_in_channel")
        post = self.slack.accept("chat.postMessage", channel, body)
        return json.dumps(
            {"ok": True, "channel": channel, "ts": post.ts, "message": {"text": body.get("text")}}
        )

    def _webhook(self, raw: bytes) -> str:
        self.slack.accept("webhook", CHANNELS["#cpu"], checked(raw, otherwise="invalid_payload"))
        return "ok"

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        content = body.encode()
        kind = "application/json" if body.startswith("{") else "text/html"
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is for what is wrong."""


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
    return body


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=0, help="default: any free one; standard error says which"
    )
    port = parser.parse_args().port
    with SlackServer(port, lambda post: print(json.dumps(asdict(post)), flush=True)) as slack:
        print(f"Slack's stand-in: base_url {slack.api}, token {TOKEN}", file=sys.stderr)
        print(
            f"channels {', '.join(CHANNELS)}; webhook {slack.url}{WEBHOOK_PATH}", file=sys.stderr, flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

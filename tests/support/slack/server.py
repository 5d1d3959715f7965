"""A stand-in for Slack on loopback: accepts and shows posts, refuses what Slack refuses, and fails on demand.

In a test: `with SlackServer() as slack:`, then point `base_url` at `slack.api`, read `slack.posts`.
By hand:   `python -m tests.support.slack.server --port 9000` prints every accepted post as one JSON line.

It checks as Slack does (`rules.py`, `files.py`): token, scopes, content type, JSON, channel, text, blocks and
their lengths, metadata, threads, queries of history and threads, and uploads. It does not model users,
attachments, block types other than header, section and rich_text, the size of metadata, and the message of a
file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.support.slack.files import Files
from tests.support.slack.posts import Post, history, replies, thread_of
from tests.support.slack.rules import Refusal, checked, page_of, shown

TOKEN = "xoxb-1111111111-2222222222-abcdefghijklmnopqrstuvwx"
WEBHOOK_PATH = "/services/T0CPU/B0CPU/ponmlkjihgfedcba"
CHANNELS = {
    **{"#cpu": "C0CPU", "C0CPU": "C0CPU", "#archived": "C0OLD", "#uninvited": "C0FAR", "C0FAR": "C0FAR"},
    "C0SECRET": "C0SECRET",
}
PRIVATE = {"C0SECRET"}


@dataclass(frozen=True)
class Request:
    """A request, accepted or not."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """What to answer instead of the right answer.

    `silent`: no answer until the server closes; `cut`: no answer, and the connection is closed. `accepts`:
    the message is posted anyway, and only the answer to it goes wrong. `about`: only a request whose body
    contains this text takes the fault, so that a late message of something else does not.
    """

    status: int = 500
    body: str = "fatal_error"
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    cut: bool = False
    accepts: bool = False
    about: str = ""


class SlackServer:
    """A server that runs inside its `with` block.

    `scopes`: what the bot may do. Each request takes one fault from its queue, before it is checked: a post
    from `faults`, a query of the channel's history from `history_faults`, of a thread from `thread_faults`, a
    step of an upload from `file_faults`. If the fault is None, the request gets the right answer.
    """

    def __init__(
        self,
        port: int = 0,
        on_post: Callable[[Post], None] = lambda post: None,
        address: str = "127.0.0.1",
    ) -> None:
        self.posts: list[Post] = []
        self.requests: list[Request] = []
        self.files = Files()
        self.scopes = {"chat:write", "channels:history", "groups:history", "files:write"}
        self.faults: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        self.history_faults: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        self.thread_faults: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        self.file_faults: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        self.fallen_silent = threading.Event()
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
        """The `base_url` for the SDK."""
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
            ts = f"{max(time.time(), float(self.posts[-1].ts) + 1e-5 if self.posts else 0):.6f}"
            post = Post(via, channel, ts, shown(body), body, thread_of(self.posts, channel, body))
            self.posts.append(post)
            self._on_post(post)
        return post

    def history(self, channel: str) -> list[dict[str, Any]]:
        with self._lock:
            return history(self.posts, channel)

    def replies(self, channel: str, ts: str | None) -> list[dict[str, Any]]:
        with self._lock:
            return replies(self.posts, channel, ts)

    def delete(self, post: Post) -> None:
        """Delete a post, as a person in the channel might."""
        with self._lock:
            self.posts.remove(post)


UPLOAD = "/upload/v1/"


class _Handler(BaseHTTPRequestHandler):
    slack: SlackServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.slack.requests.append(Request(self.path, dict(self.headers), body))
        fault = self._take_fault(body)
        if fault is None:
            self._answer(*self._outcome(body))
            return
        if fault.accepts:
            self._outcome(body)
        if fault.silent:
            self.slack.fallen_silent.set()
            self.slack.closing.wait()
        if fault.silent or fault.cut:
            self.close_connection = True
        else:
            self._answer(fault.status, fault.body, fault.headers)

    def _take_fault(self, body: bytes) -> Fault | None:
        faults = self._faults()
        try:
            fault = faults.get_nowait()
        except queue.Empty:
            return None
        if fault is not None and fault.about.encode() not in body:
            faults.put(fault)
            return None
        return fault

    def _faults(self) -> queue.SimpleQueue[Fault | None]:
        if self.path.startswith(("/api/files.", UPLOAD)):
            return self.slack.file_faults
        queues = {
            "/api/conversations.history": self.slack.history_faults,
            "/api/conversations.replies": self.slack.thread_faults,
        }
        return queues.get(self.path, self.slack.faults)

    def _outcome(self, body: bytes) -> tuple[int, str]:
        methods = {
            "/api/chat.postMessage": self._post,
            "/api/conversations.history": self._history,
            "/api/conversations.replies": self._replies,
            "/api/files.getUploadURLExternal": self._begin_upload,
            "/api/files.completeUploadExternal": self._complete_upload,
        }
        if method := methods.get(self.path):
            try:
                self._authorize()
                return 200, json.dumps(method(body))
            except Refusal as refusal:
                return 200, json.dumps({"ok": False, "error": str(refusal), **refusal.more})
        if self.path.startswith(UPLOAD):
            return self.slack.files.take(self.path.removeprefix(UPLOAD), body)
        if self.path == WEBHOOK_PATH:
            try:
                return 200, self._webhook(body)
            except Refusal as refusal:
                return 400, str(refusal)
        if self.path.startswith("/services/"):
            return 404, "no_service"
        return 200, json.dumps({"ok": False, "error": "unknown_method"})

    def _authorize(self) -> None:
        match self.headers.get("Authorization", "").split():
            case []:
                raise Refusal("not_authed")
            case ["Bearer", token] if token == TOKEN:
                pass
            case _:
                raise Refusal("invalid_auth")

    def _needs(self, scope: str) -> None:
        if scope not in self.slack.scopes:
            raise Refusal("missing_scope", needed=scope, provided=",".join(sorted(self.slack.scopes)))

    def _post(self, raw: bytes) -> dict[str, Any]:
        self._needs("chat:write")
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
        return {"ok": True, "channel": channel, "ts": post.ts, "message": {"text": body.get("text")}}

    def _history(self, raw: bytes) -> dict[str, Any]:
        asked = dict(parse_qsl(raw.decode()))
        return page_of(self.slack.history(self._shown_channel(asked)), asked)

    def _replies(self, raw: bytes) -> dict[str, Any]:
        asked = dict(parse_qsl(raw.decode()))
        replies = self.slack.replies(self._shown_channel(asked), asked.get("ts"))
        if not replies:
            raise Refusal("thread_not_found")
        return page_of(replies, asked)

    def _shown_channel(self, asked: dict[str, str]) -> str:
        channel = asked.get("channel", "")
        if channel not in CHANNELS.values():
            raise Refusal("channel_not_found")
        self._needs("groups:history" if channel in PRIVATE else "channels:history")
        if channel == CHANNELS["#uninvited"]:
            raise Refusal("not_in_channel")
        return channel

    def _begin_upload(self, raw: bytes) -> dict[str, Any]:
        self._needs("files:write")
        return self.slack.files.begin(dict(parse_qsl(raw.decode())), self.slack.url + UPLOAD)

    def _complete_upload(self, raw: bytes) -> dict[str, Any]:
        self._needs("files:write")
        asked = dict(parse_qsl(raw.decode()))
        channel = asked.get("channel_id", "")
        if channel not in CHANNELS.values():
            raise Refusal("channel_not_found")
        if channel == CHANNELS["#uninvited"]:
            raise Refusal("not_in_channel")
        threads = {post.ts for post in self.slack.posts if post.channel == channel and not post.thread}
        return self.slack.files.complete(asked, threads)

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
        """Log nothing: standard error is for errors."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=0, help="the port (default: any free one, which standard error names)"
    )
    port = parser.parse_args().port
    with SlackServer(port, lambda post: print(json.dumps(asdict(post)), flush=True)) as slack:
        print(f"The stand-in for Slack: base_url {slack.api}, token {TOKEN}", file=sys.stderr)
        print(
            f"channels {', '.join(CHANNELS)}; webhook {slack.url}{WEBHOOK_PATH}", file=sys.stderr, flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

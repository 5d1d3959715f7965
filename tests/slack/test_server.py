"""Slack's stand-in refuses what Slack refuses, in Slack's words."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.slack.server import TOKEN, WEBHOOK_PATH, SlackServer

SAID = {"channel": "#cpu", "text": "hello"}
LINE: dict[str, Any] = {"type": "section", "text": {"type": "plain_text", "text": "hello"}}


def send(slack: SlackServer, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Status and body of the answer to a plain HTTP POST, without the SDK."""
    request = Request(slack.url + path, body, {"Content-Type": "application/json", **headers})  # noqa: S310
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "not_authed"),
        ({"Authorization": "Bearer xoxb-wrong"}, "invalid_auth"),
        ({"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"}, "invalid_post_type"),
    ],
)
def test_a_request_without_a_right_to_post_is_refused(
    slack: SlackServer, headers: dict[str, str], error: str
) -> None:
    status, answer = send(slack, "/api/chat.postMessage", json.dumps(SAID).encode(), **headers)
    assert (status, json.loads(answer)) == (200, {"ok": False, "error": error})
    assert not slack.posts


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"text": "hello"}, "channel_not_found"),
        ({"channel": "#cpu"}, "no_text"),
        (SAID | {"text": "x" * 40_001}, "msg_too_long"),
        (SAID | {"blocks": [LINE] * 51}, "invalid_blocks"),
        (
            SAID | {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}]},
            "invalid_blocks",
        ),
        (
            SAID | {"blocks": [{"type": "rich_text", "elements": [{"type": "text", "text": ""}]}]},
            "invalid_blocks",
        ),
        (SAID | {"blocks": [{"type": "no_such_block"}]}, "invalid_blocks"),
        ([SAID], "invalid_json"),
    ],
)
def test_a_message_that_slack_would_not_take_is_refused(slack: SlackServer, body: Any, error: str) -> None:
    raw = json.dumps(body).encode()
    status, answer = send(slack, "/api/chat.postMessage", raw, Authorization=f"Bearer {TOKEN}")
    assert (status, json.loads(answer)) == (200, {"ok": False, "error": error})
    assert not slack.posts


def test_a_message_with_blocks_and_one_without_are_taken(slack: SlackServer) -> None:
    for body in (SAID, SAID | {"blocks": [LINE]}):
        send(slack, "/api/chat.postMessage", json.dumps(body).encode(), Authorization=f"Bearer {TOKEN}")
    assert [post.shown for post in slack.posts] == ["hello", "hello"]
    assert len({post.ts for post in slack.posts}) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        (WEBHOOK_PATH, b'{"text": "hello"}', 200, "ok"),
        (WEBHOOK_PATH, b"hello", 400, "invalid_payload"),
        (WEBHOOK_PATH, b"{}", 400, "no_text"),
        ("/services/T0/B0/revoked", b'{"text": "hello"}', 404, "no_service"),
    ],
)
def test_a_webhook_answers_in_plain_text(
    slack: SlackServer, path: str, body: bytes, status: int, answer: str
) -> None:
    assert send(slack, path, body) == (status, answer)
    assert len(slack.posts) == (status == 200)

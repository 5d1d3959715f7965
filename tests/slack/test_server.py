"""Slack's stand-in refuses what Slack refuses, in Slack's words."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
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
        (SAID | {"metadata": {"event_type": "answer"}}, "invalid_metadata_format"),
        (SAID | {"metadata": {"event_type": "an answer", "event_payload": {}}}, "invalid_metadata_format"),
        (SAID | {"metadata": {"event_type": "a", "event_payload": {"n": [1]}}}, "invalid_metadata_format"),
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


def look(slack: SlackServer, **asked: str) -> dict[str, Any]:
    form = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-www-form-urlencoded"}
    status, answer = send(slack, "/api/conversations.history", urlencode(asked).encode(), **form)
    assert status == 200
    said: dict[str, Any] = json.loads(answer)
    return said


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, "channel_not_found"),
        ({"channel": "#cpu"}, "channel_not_found"),
        ({"channel": "C0FAR"}, "not_in_channel"),
        ({"channel": "C0CPU", "limit": "1000"}, "invalid_limit"),
        ({"channel": "C0CPU", "oldest": "yesterday"}, "invalid_ts_oldest"),
        ({"channel": "C0CPU", "cursor": "no such"}, "invalid_cursor"),
    ],
)
def test_a_look_that_slack_would_not_allow_is_refused(
    slack: SlackServer, asked: dict[str, str], error: str
) -> None:
    assert look(slack, **asked) == {"ok": False, "error": error}


@pytest.mark.parametrize(
    ("channel", "needed"), [("C0CPU", "channels:history"), ("C0SECRET", "groups:history")]
)
def test_a_look_without_its_scope_is_refused_and_told_which(
    slack: SlackServer, channel: str, needed: str
) -> None:
    slack.scopes = {"chat:write"}
    refused = {"ok": False, "error": "missing_scope", "needed": needed, "provided": "chat:write"}
    assert look(slack, channel=channel) == refused


def test_the_history_is_shown_newest_first_page_by_page_and_its_metadata_where_asked_for(
    slack: SlackServer,
) -> None:
    marked = {"metadata": {"event_type": "answer", "event_payload": {"part": 1}}}
    posts = [slack.accept("chat.postMessage", "C0CPU", SAID | marked) for _ in range(3)]
    slack.accept("chat.postMessage", "C0SECRET", SAID)
    first = look(slack, channel="C0CPU", limit="2", include_all_metadata="1")
    assert [(one["ts"], one["metadata"]) for one in first["messages"]] == [
        (posts[2].ts, marked["metadata"]),
        (posts[1].ts, marked["metadata"]),
    ]
    second = look(slack, channel="C0CPU", cursor=first["response_metadata"]["next_cursor"])
    assert [(one["ts"], one["metadata"]) for one in second["messages"]] == [
        (posts[0].ts, {"event_type": "answer"})
    ]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [one["ts"] for one in look(slack, channel="C0CPU", oldest=posts[1].ts)["messages"]] == [
        posts[2].ts
    ]

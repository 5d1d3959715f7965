"""The stand-in for Slack refuses what Slack refuses, with Slack's errors."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.support.slack.server import TOKEN, WEBHOOK_PATH, SlackServer

BODY = {"channel": "#cpu", "text": "hello"}
LINE: dict[str, Any] = {"type": "section", "text": {"type": "plain_text", "text": "hello"}}
TEXT = {"type": "text", "text": "hello"}


def header(text: str, kind: str = "plain_text", **more: Any) -> dict[str, Any]:
    return {"type": "header", "text": {"type": kind, "text": text, **more}}


def rich(*elements: Any, kind: str = "rich_text_section") -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": [*elements]}]}


def send(slack: SlackServer, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Send a plain HTTP POST without the SDK; return the status and body of the answer."""
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
def test_post_without_authorization_or_content_type_is_refused(
    slack: SlackServer, headers: dict[str, str], error: str
) -> None:
    status, answer = send(slack, "/api/chat.postMessage", json.dumps(BODY).encode(), **headers)
    assert (status, json.loads(answer)) == (200, {"ok": False, "error": error})
    assert not slack.posts


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"text": "hello"}, "channel_not_found"),
        ({"channel": "#cpu"}, "no_text"),
        (BODY | {"text": "x" * 40_001}, "msg_too_long"),
        (BODY | {"blocks": [LINE] * 51}, "invalid_blocks"),
        (
            BODY | {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}]},
            "invalid_blocks",
        ),
        (
            BODY | {"blocks": [{"type": "rich_text", "elements": [{"type": "text", "text": ""}]}]},
            "invalid_blocks",
        ),
        (BODY | {"blocks": [{"type": "no_such_block"}]}, "invalid_blocks"),
        (BODY | {"blocks": [header("x" * 151)]}, "invalid_blocks"),
        (BODY | {"blocks": [header("")]}, "invalid_blocks"),
        (BODY | {"blocks": [header("hello", kind="mrkdwn")]}, "invalid_blocks"),
        (BODY | {"blocks": [header("hello", emoji="no")]}, "invalid_blocks"),
        (BODY | {"blocks": [header("hello", verbatim=True)]}, "invalid_blocks"),
        (BODY | {"blocks": [header("hello") | {"level": 2}]}, "invalid_blocks"),
        (BODY | {"blocks": [{"type": "rich_text", "elements": []}]}, "invalid_blocks"),
        (BODY | {"blocks": [{"type": "rich_text", "elements": [TEXT]}]}, "invalid_blocks"),
        (BODY | {"blocks": [rich(TEXT, kind="text")]}, "invalid_blocks"),
        (BODY | {"blocks": [rich({"type": "link", "url": ""})]}, "invalid_blocks"),
        (BODY | {"blocks": [rich(TEXT | {"style": {"loud": True}})]}, "invalid_blocks"),
        (
            BODY | {"blocks": [rich(TEXT | {"style": {"bold": True}}, kind="rich_text_preformatted")]},
            "invalid_blocks",
        ),
        (BODY | {"blocks": [rich(TEXT | {"text": "x" * 14_000})]}, "msg_blocks_too_long"),
        (BODY | {"thread_ts": "1795337245"}, "invalid_thread_ts"),
        (BODY | {"thread_ts": 1795337245.000001}, "invalid_thread_ts"),
        (BODY | {"reply_broadcast": True}, "invalid_arguments"),
        (BODY | {"metadata": {"event_type": "answer"}}, "invalid_metadata_format"),
        (BODY | {"metadata": {"event_type": "an answer", "event_payload": {}}}, "invalid_metadata_format"),
        (BODY | {"metadata": {"event_type": "a", "event_payload": {"n": [1]}}}, "invalid_metadata_format"),
        ([BODY], "invalid_json"),
    ],
)
def test_malformed_message_is_refused(slack: SlackServer, body: Any, error: str) -> None:
    raw = json.dumps(body).encode()
    status, answer = send(slack, "/api/chat.postMessage", raw, Authorization=f"Bearer {TOKEN}")
    assert (status, json.loads(answer)) == (200, {"ok": False, "error": error})
    assert not slack.posts


def test_messages_with_and_without_blocks_are_accepted(slack: SlackServer) -> None:
    code = rich(TEXT, kind="rich_text_preformatted")
    bold = rich(TEXT | {"style": {"bold": True}})
    for blocks in ([], [LINE], [header("hello", emoji=False)], [code], [bold]):
        body = BODY | ({"blocks": blocks} if blocks else {})
        send(slack, "/api/chat.postMessage", json.dumps(body).encode(), Authorization=f"Bearer {TOKEN}")
    assert [post.shown for post in slack.posts] == ["hello"] * 5
    assert len({post.ts for post in slack.posts}) == 5


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        (WEBHOOK_PATH, b'{"text": "hello"}', 200, "ok"),
        (WEBHOOK_PATH, b"hello", 400, "invalid_payload"),
        (WEBHOOK_PATH, b"{}", 400, "no_text"),
        ("/services/T0/B0/revoked", b'{"text": "hello"}', 404, "no_service"),
    ],
)
def test_webhook_answers_in_plain_text(
    slack: SlackServer, path: str, body: bytes, status: int, answer: str
) -> None:
    assert send(slack, path, body) == (status, answer)
    assert len(slack.posts) == (status == 200)


def ask(slack: SlackServer, method: str, **asked: str) -> dict[str, Any]:
    form = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-www-form-urlencoded"}
    status, answer = send(slack, f"/api/{method}", urlencode(asked).encode(), **form)
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
    assert ask(slack, "conversations.history", **asked) == {"ok": False, "error": error}


@pytest.mark.parametrize(
    ("channel", "needed"), [("C0CPU", "channels:history"), ("C0SECRET", "groups:history")]
)
def test_history_without_its_scope_is_refused_and_the_scope_is_named(
    slack: SlackServer, channel: str, needed: str
) -> None:
    slack.scopes = {"chat:write"}
    refused = {"ok": False, "error": "missing_scope", "needed": needed, "provided": "chat:write"}
    assert ask(slack, "conversations.history", channel=channel) == refused


def test_history_is_paged_newest_first_with_metadata_on_request(
    slack: SlackServer,
) -> None:
    marked = {"metadata": {"event_type": "answer", "event_payload": {"part": 1}}}
    posts = [slack.accept("chat.postMessage", "C0CPU", BODY | marked) for _ in range(3)]
    slack.accept("chat.postMessage", "C0SECRET", BODY)
    first = ask(slack, "conversations.history", channel="C0CPU", limit="2", include_all_metadata="1")
    assert [(one["ts"], one["metadata"]) for one in first["messages"]] == [
        (posts[2].ts, marked["metadata"]),
        (posts[1].ts, marked["metadata"]),
    ]
    second = ask(
        slack, "conversations.history", channel="C0CPU", cursor=first["response_metadata"]["next_cursor"]
    )
    assert [(one["ts"], one["metadata"]) for one in second["messages"]] == [
        (posts[0].ts, {"event_type": "answer"})
    ]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [
        one["ts"]
        for one in ask(slack, "conversations.history", channel="C0CPU", oldest=posts[1].ts)["messages"]
    ] == [posts[2].ts]


def test_reply_is_in_its_thread_and_in_the_channel_only_on_request(slack: SlackServer) -> None:
    def post(**more: Any) -> str:
        return slack.accept("chat.postMessage", "C0CPU", BODY | more).ts

    root, other = post(), post()
    quiet, loud = post(thread_ts=root), post(thread_ts=root, reply_broadcast=True)
    thread = ask(slack, "conversations.replies", channel="C0CPU", ts=root)["messages"]
    assert [one["ts"] for one in thread] == [root, quiet, loud]
    assert [one.get("thread_ts") for one in thread] == [None, root, root]
    channel = ask(slack, "conversations.history", channel="C0CPU")["messages"]
    assert [(one["ts"], one.get("subtype")) for one in channel] == [
        *((loud, "thread_broadcast"), (other, None), (root, None)),
    ]


def test_thread_is_paged_oldest_first(slack: SlackServer) -> None:
    root = slack.accept("chat.postMessage", "C0CPU", BODY).ts
    replies = [slack.accept("chat.postMessage", "C0CPU", BODY | {"thread_ts": root}).ts for _ in range(2)]
    asked = {"channel": "C0CPU", "ts": root, "limit": "2"}
    first = ask(slack, "conversations.replies", **asked)
    cursor = first["response_metadata"]["next_cursor"]
    second = ask(slack, "conversations.replies", **asked, cursor=cursor)
    pages = [[one["ts"] for one in page["messages"]] for page in (first, second)]
    assert pages == [[root, replies[0]], [replies[1]]]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"channel": "C0CPU"}, "thread_not_found"),
        ({"channel": "C0CPU", "ts": "1795337245.000001"}, "thread_not_found"),
        ({"channel": "#cpu", "ts": "1795337245.000001"}, "channel_not_found"),
    ],
)
def test_unknown_thread_is_refused(slack: SlackServer, asked: dict[str, str], error: str) -> None:
    assert ask(slack, "conversations.replies", **asked) == {"ok": False, "error": error}


def test_reply_to_a_reply_is_refused_and_one_to_a_deleted_message_has_no_thread(
    slack: SlackServer,
) -> None:
    root = slack.accept("chat.postMessage", "C0CPU", BODY)
    reply = slack.accept("chat.postMessage", "C0CPU", BODY | {"thread_ts": root.ts})
    raw = json.dumps(BODY | {"thread_ts": reply.ts}).encode()
    _, answer = send(slack, "/api/chat.postMessage", raw, Authorization=f"Bearer {TOKEN}")
    assert json.loads(answer)["error"] == "cannot_reply_to_message"
    slack.delete(root)
    assert slack.accept("chat.postMessage", "C0CPU", BODY | {"thread_ts": root.ts}).thread is None


def begin_upload(slack: SlackServer, length: int = 3) -> tuple[str, str]:
    """Announce a file; return its id and the path to upload it to."""
    begun = ask(slack, "files.getUploadURLExternal", filename="a.png", length=str(length))
    return begun["file_id"], begun["upload_url"].removeprefix(slack.url)


def test_file_is_shared_once_it_is_announced_uploaded_and_completed(slack: SlackServer) -> None:
    root = slack.accept("chat.postMessage", "C0CPU", BODY).ts
    number, path = begin_upload(slack)
    assert send(slack, path, b"abc")[0] == 200
    assert not slack.files.shared
    files = json.dumps([{"id": number, "title": "A"}])
    done = ask(slack, "files.completeUploadExternal", files=files, channel_id="C0CPU", thread_ts=root)
    assert done == {"ok": True, "files": [{"id": number, "title": "A"}]}
    [file] = slack.files.shared
    assert (file.name, file.content, file.title, file.channel, file.thread) == (
        *("a.png", b"abc", "A", "C0CPU", root),
    )


@pytest.mark.parametrize(("name", "length"), [("", "3"), ("a.png", "0"), ("a.png", "-3"), ("a.png", "x")])
def test_file_without_a_name_or_a_length_is_refused(slack: SlackServer, name: str, length: str) -> None:
    refused = {"ok": False, "error": "invalid_arguments"}
    assert ask(slack, "files.getUploadURLExternal", filename=name, length=length) == refused


def test_upload_of_another_length_or_to_an_unknown_address_is_refused(slack: SlackServer) -> None:
    _, path = begin_upload(slack)
    assert send(slack, path, b"abcd")[0] == 400
    assert send(slack, f"{path}9", b"abc")[0] == 404


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"files": '[{"id": "F9"}]', "channel_id": "C0CPU"}, "file_not_found"),
        ({"files": '[{"id": "F00000000"}]', "channel_id": "C0CPU"}, "file_not_found"),  # not uploaded
        ({"files": "[]", "channel_id": "C0CPU"}, "invalid_arguments"),
        ({"files": "F00000000", "channel_id": "C0CPU"}, "invalid_arguments"),
        ({"files": '[{"id": "F00000000"}]', "channel_id": "#cpu"}, "channel_not_found"),
        ({"files": '[{"id": "F00000000"}]', "channel_id": "C0FAR"}, "not_in_channel"),
        (
            {"files": '[{"id": "F00000000"}]', "channel_id": "C0CPU", "thread_ts": "1795337245.000001"},
            "invalid_thread_ts",
        ),
    ],
)
def test_upload_that_cannot_be_completed_is_refused(
    slack: SlackServer, asked: dict[str, str], error: str
) -> None:
    assert begin_upload(slack)[0] == "F00000000"
    assert ask(slack, "files.completeUploadExternal", **asked) == {"ok": False, "error": error}


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_files_need_the_scope_files_write(slack: SlackServer, method: str) -> None:
    slack.scopes = {"chat:write"}
    refused = {"ok": False, "error": "missing_scope", "needed": "files:write", "provided": "chat:write"}
    assert ask(slack, method, filename="a.png", length="3", channel_id="C0CPU") == refused

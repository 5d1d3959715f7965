"""The picture of a start run: posted with the last answer; its failure never fails the answer."""

import re
import time

import pytest

from scripts.slack.messages import Mark, Message, start_message
from scripts.slack_notify import notify
from tests.support.slack.files import File
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.ways import bot, webhook

START = "20261122-084725-a1b2c3"
NOW = time.time()
STARTED = start_message(START, "nop +0\n", 1, 2, 1, "http://localhost:8080/s", NOW)
ANSWER = Message(f"Part 2: 8\nStart run {START}", "http://localhost:8080/r", Mark(START, "part2", NOW))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100


@pytest.mark.parametrize("has_thread", [True, False])
def test_picture_is_in_the_thread_or_below_the_answer_if_there_is_none(
    slack: SlackServer, has_thread: bool
) -> None:
    if has_thread:
        notify(STARTED, bot(slack, "C0CPU"))
    notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert slack.files.shared == [
        File("run.png", len(PNG), PNG, "The start run", "C0CPU", slack.posts[0].ts),
    ]


def test_picture_is_posted_to_a_channel_given_by_name(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "#cpu"), lambda: PNG)
    assert [(file.channel, file.thread) for file in slack.files.shared] == [("C0CPU", slack.posts[0].ts)]


def test_retry_that_finds_the_answer_adds_no_second_picture(slack: SlackServer) -> None:
    for _ in range(2):
        notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert len(slack.files.shared) == 1


def test_picture_is_not_drawn_for_a_webhook_or_a_log(slack: SlackServer) -> None:
    made: list[bytes] = []

    def picture() -> bytes:
        made.append(PNG)
        return PNG

    assert notify(ANSWER, webhook(slack), picture)["posted"] == "slack"
    assert notify(ANSWER, None, picture)["posted"] == "log"
    assert not made


def test_answer_without_a_picture_uploads_nothing_and_logs_no_warning(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    notify(ANSWER, bot(slack, "C0CPU"), lambda: None)
    assert not [request for request in slack.requests if "files" in request.path]
    assert "picture" not in caplog.text


def test_without_the_scope_files_write_the_answer_is_posted_and_the_log_has_the_remedy(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.scopes.remove("files:write")
    receipt = notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert [post.ts for post in slack.posts] == [receipt["ts"]]
    assert re.search("missing_scope.*give the app the scope files:write", caplog.text)
    assert not slack.files.shared


@pytest.mark.usefixtures("_short_timeout")
@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(429), Fault(cut=True), Fault(silent=True), Fault(200, "<html>"), Fault(200, "{}")],
)
def test_answer_is_posted_whatever_goes_wrong_with_the_picture(
    slack: SlackServer, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    slack.file_faults.put(fault)
    receipt = notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert [post.ts for post in slack.posts] == [receipt["ts"]]
    assert "without a picture" in caplog.text
    assert not slack.files.shared


@pytest.mark.parametrize("step", [1, 2])
def test_upload_that_fails_halfway_is_only_logged(
    slack: SlackServer, caplog: pytest.LogCaptureFixture, step: int
) -> None:
    for _ in range(step):
        slack.file_faults.put(None)
    slack.file_faults.put(Fault(500))
    notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert "without a picture" in caplog.text
    assert not slack.files.shared


def test_picture_that_cannot_be_drawn_is_only_logged(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bytes:
        raise ImportError("No module named 'pictures'")

    assert notify(ANSWER, bot(slack, "C0CPU"), broken)["posted"] == "slack"
    assert "without a picture. ImportError: No module named 'pictures'" in caplog.text

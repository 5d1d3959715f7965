"""A picture of the run comes with the last answer where the bot may add one, and never costs the answer."""

import re
import time

import pytest

from scripts.slack.messages import Mark, Message, started
from scripts.slack_notify import notify
from tests.support.slack.files import File
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.ways import bot, webhook

START = "20261122-084725-a1b2c3"
NOW = time.time()
BEGUN = started(START, "nop +0\n", 1, 2, 1, "http://localhost:8080/s", NOW)
ANSWER = Message(f"Part 2: 8\nStart run {START}", "http://localhost:8080/r", Mark(START, "part2", NOW))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100


@pytest.mark.parametrize("begun", [True, False])
def test_the_picture_is_in_the_thread_or_else_below_the_answer(slack: SlackServer, begun: bool) -> None:
    if begun:
        notify(BEGUN, bot(slack, "C0CPU"))
    notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert slack.files.shared == [
        File("run.png", len(PNG), PNG, "The start run", "C0CPU", slack.posts[0].ts),
    ]


def test_a_channel_s_name_will_do(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "#cpu"), lambda: PNG)
    assert [(file.channel, file.thread) for file in slack.files.shared] == [("C0CPU", slack.posts[0].ts)]


def test_only_the_try_that_has_posted_the_answer_adds_the_picture(slack: SlackServer) -> None:
    for _ in range(2):
        notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert len(slack.files.shared) == 1


def test_no_picture_is_made_for_a_webhook_or_a_log(slack: SlackServer) -> None:
    made: list[bytes] = []

    def picture() -> bytes:
        made.append(PNG)
        return PNG

    assert notify(ANSWER, webhook(slack), picture)["posted"] == "slack"
    assert notify(ANSWER, None, picture)["posted"] == "log"
    assert not made


def test_where_there_is_no_picture_none_is_added_and_nothing_is_amiss(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    notify(ANSWER, bot(slack, "C0CPU"), lambda: None)
    assert not [request for request in slack.requests if "files" in request.path]
    assert "picture" not in caplog.text


def test_without_the_scope_the_answer_is_told_and_the_log_says_what_helps(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.scopes.remove("files:write")
    receipt = notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert [post.ts for post in slack.posts] == [receipt["ts"]]
    assert re.search("missing_scope.*give the app the scope files:write", caplog.text)
    assert not slack.files.shared


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(429), Fault(cut=True), Fault(silent=True), Fault(200, "<html>"), Fault(200, "{}")],
)
def test_whatever_goes_wrong_with_the_picture_the_answer_is_told(
    slack: SlackServer, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    slack.file_faults.put(fault)
    receipt = notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert [post.ts for post in slack.posts] == [receipt["ts"]]
    assert "without a picture" in caplog.text
    assert not slack.files.shared


@pytest.mark.parametrize("step", [1, 2])
def test_an_upload_that_breaks_off_in_between_is_only_logged(
    slack: SlackServer, caplog: pytest.LogCaptureFixture, step: int
) -> None:
    for _ in range(step):
        slack.file_faults.put(None)
    slack.file_faults.put(Fault(500))
    notify(ANSWER, bot(slack, "C0CPU"), lambda: PNG)
    assert "without a picture" in caplog.text
    assert not slack.files.shared


def test_a_picture_that_cannot_be_made_is_only_logged(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bytes:
        raise ImportError("No module named 'pictures'")

    assert notify(ANSWER, bot(slack, "C0CPU"), broken)["posted"] == "slack"
    assert "without a picture. ImportError: No module named 'pictures'" in caplog.text

"""A message with a mark is searched for before it is posted, so that a retry does not post it again."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.slack.errors import SlackError, SlackUnavailable
from scripts.slack.messages import Mark, Message
from scripts.slack_notify import notify
from tests.support.slack.server import TOKEN, Fault, SlackServer
from tests.support.slack.ways import bot, webhook

ROOT = Path(__file__).parents[3]
MARK = Mark("20261122-084725-a1b2c3", "part1", time.time())
ANSWER = Message("Part 1: 5\nStart run 20261122-084725-a1b2c3", "http://localhost:8080/r", MARK)

FAULTS = {
    "silence": Fault(silent=True),
    "a connection cut": Fault(cut=True),
    "500": Fault(500),
    "503": Fault(503, "<html>upstream"),
    "internal_error": Fault(200, '{"ok": false, "error": "internal_error"}'),
    "a proxy's page": Fault(200, "<html>"),
}
with_each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


@pytest.mark.usefixtures("_short_timeout")
@with_each_fault
def test_retry_finds_the_message_if_only_slack_s_answer_was_lost(slack: SlackServer, fault: Fault) -> None:
    slack.faults.put(replace(fault, accepts=True))
    with pytest.raises(SlackError):
        notify(ANSWER, bot(slack, "C0CPU"))
    [post] = slack.posts
    receipt = {"posted": "slack", "channel": "C0CPU", "ts": post.ts, "text": str(ANSWER)}
    assert notify(ANSWER, bot(slack, "C0CPU")) == receipt
    assert slack.posts == [post]


@pytest.mark.usefixtures("_short_timeout")
@with_each_fault
def test_retry_posts_the_message_if_slack_never_accepted_it(slack: SlackServer, fault: Fault) -> None:
    slack.faults.put(fault)
    with pytest.raises(SlackError):
        notify(ANSWER, bot(slack, "C0CPU"))
    assert not slack.posts
    receipt = notify(ANSWER, bot(slack, "C0CPU"))
    assert [post.ts for post in slack.posts] == [receipt["ts"]]


def test_messages_are_the_same_only_if_start_run_and_kind_are_equal(slack: SlackServer) -> None:
    for mark in (MARK, replace(MARK, kind="part2"), replace(MARK, start="20261122-084725-ffffff"), None):
        notify(replace(ANSWER, mark=mark), bot(slack, "C0CPU"))
    assert len(slack.posts) == 4
    notify(replace(ANSWER, text="the same answer in other words"), bot(slack, "C0CPU"))
    assert len(slack.posts) == 4


def test_message_is_found_behind_several_pages_of_others(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "C0CPU"))
    for number in range(450):
        slack.accept("chat.postMessage", "C0CPU", {"text": f"chat {number}"})
    slack.requests.clear()
    receipt = notify(ANSWER, bot(slack, "C0CPU"))
    assert receipt["ts"] == slack.posts[0].ts
    assert [request.path for request in slack.requests] == ["/api/conversations.history"] * 3


def test_messages_older_than_the_start_run_are_not_searched(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "C0CPU"))
    notify(replace(ANSWER, mark=replace(MARK, since=time.time() + 500)), bot(slack, "C0CPU"))
    assert len(slack.posts) == 1, "clocks may differ by some minutes"
    notify(replace(ANSWER, mark=replace(MARK, since=time.time() + 3_600)), bot(slack, "C0CPU"))
    assert len(slack.posts) == 2


@pytest.mark.parametrize(
    ("fault", "wait"), [(Fault(503), None), (Fault(429, headers={"Retry-After": "9"}), 9)]
)
def test_nothing_is_posted_while_the_history_is_unavailable(
    slack: SlackServer, fault: Fault, wait: int | None
) -> None:
    slack.history_faults.put(fault)
    with pytest.raises(SlackUnavailable) as away:
        notify(ANSWER, bot(slack, "C0CPU"))
    assert away.value.wait == wait
    assert "may have been posted" not in str(away.value)
    assert not slack.posts
    notify(ANSWER, bot(slack, "C0CPU"))
    assert len(slack.posts) == 1


@pytest.mark.parametrize(
    ("channel", "scopes", "remedy"),
    [
        ("C0CPU", {"chat:write"}, "missing_scope.*channels:history"),
        ("C0SECRET", {"chat:write", "channels:history"}, "missing_scope.*groups:history"),
        ("#cpu", {"chat:write", "channels:history"}, "channel_not_found.*by its id"),
    ],
)
def test_message_may_be_posted_twice_if_slack_refuses_the_history_and_the_log_has_the_remedy(
    slack: SlackServer, channel: str, scopes: set[str], remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.scopes = scopes
    slack.faults.put(Fault(500, accepts=True))
    with pytest.raises(SlackUnavailable):
        notify(ANSWER, bot(slack, channel))
    notify(ANSWER, bot(slack, channel))
    assert len(slack.posts) == 2
    assert re.search(remedy, caplog.text)


def test_history_of_a_private_channel_needs_the_scope_groups_history(slack: SlackServer) -> None:
    slack.scopes = {"chat:write", "groups:history"}
    for _ in range(2):
        notify(ANSWER, bot(slack, "C0SECRET"))
    assert len(slack.posts) == 1


def test_webhook_may_post_twice_as_it_cannot_be_searched(slack: SlackServer) -> None:
    slack.faults.put(Fault(500, accepts=True))
    with pytest.raises(SlackUnavailable, match="may have been posted"):
        notify(ANSWER, webhook(slack))
    notify(ANSWER, webhook(slack))
    assert len(slack.posts) == 2


POST_ANSWER = """
import json, sys, types
from datetime import UTC, datetime
from dags.notifications import post_answer

began = datetime.fromtimestamp(float(sys.argv[1]), UTC)
run = types.SimpleNamespace(dag_id="cpu", run_id="r", run_after=began)
result = {"verdict": "part1", "status": "loop", "acc": "5", "start": "20261122-084725-a1b2c3", "cpu": 0}
print(json.dumps(post_answer(result, {"dag_run": run})))
"""


@pytest.mark.parametrize("posted", [True, False])
def test_task_that_is_killed_while_posting_posts_only_once_when_retried(tmp_path: Path, posted: bool) -> None:
    """Killed after Slack has accepted the message but not answered; and while it searches for the message."""
    stored = {"conn_type": "generic", "password": TOKEN}
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
    with SlackServer() as slack:
        stored["extra"] = json.dumps({"channel": "C0CPU", "base_url": slack.api})
        environment["AIRFLOW_CONN_SLACK_CPU"] = json.dumps(stored)
        faults = slack.faults if posted else slack.history_faults
        faults.put(Fault(silent=True, accepts=posted))
        task = [sys.executable, "-c", POST_ANSWER, str(time.time())]
        with subprocess.Popen(task, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as killed:
            try:
                assert slack.fallen_silent.wait(60)
            finally:
                killed.kill()
        assert len(slack.posts) == posted
        again = subprocess.run(task, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        [post] = slack.posts
    assert json.loads(again.stdout.splitlines()[-1])["ts"] == post.ts

"""A message that must be there once is looked for before it is posted, whatever became of earlier tries."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.slack.errors import SlackAway, SlackError
from scripts.slack.messages import Mark, Message
from scripts.slack_notify import notify
from tests.support.slack.server import TOKEN, Fault, SlackServer
from tests.support.slack.ways import bot, webhook

ROOT = Path(__file__).parents[3]
MARK = Mark("20261122-084725-a1b2c3", "part1", time.time())
ANSWER = Message("Part 1: 5\nStart run 20261122-084725-a1b2c3", "http://localhost:8080/r", MARK)

FAILING = {
    "silence": Fault(silent=True),
    "a connection cut": Fault(cut=True),
    "500": Fault(500),
    "503": Fault(503, "<html>upstream"),
    "internal_error": Fault(200, '{"ok": false, "error": "internal_error"}'),
    "a proxy's page": Fault(200, "<html>"),
}
failing = pytest.mark.parametrize("fault", FAILING.values(), ids=FAILING.keys())


@pytest.mark.usefixtures("_impatient")
@failing
def test_a_post_whose_answer_is_lost_is_found_by_the_next_try(slack: SlackServer, fault: Fault) -> None:
    slack.faults.put(replace(fault, accepts=True))
    with pytest.raises(SlackError):
        notify(ANSWER, bot(slack, "C0CPU"))
    [post] = slack.posts
    receipt = {"posted": "slack", "channel": "C0CPU", "ts": post.ts, "text": str(ANSWER)}
    assert notify(ANSWER, bot(slack, "C0CPU")) == receipt
    assert slack.posts == [post]


@pytest.mark.usefixtures("_impatient")
@failing
def test_a_post_that_got_lost_itself_is_posted_by_the_next_try(slack: SlackServer, fault: Fault) -> None:
    slack.faults.put(fault)
    with pytest.raises(SlackError):
        notify(ANSWER, bot(slack, "C0CPU"))
    assert not slack.posts
    receipt = notify(ANSWER, bot(slack, "C0CPU"))
    assert [post.ts for post in slack.posts] == [receipt["ts"]]


def test_only_the_same_news_of_the_same_start_run_is_the_same_message(slack: SlackServer) -> None:
    for mark in (MARK, replace(MARK, news="part2"), replace(MARK, start="20261122-084725-ffffff"), None):
        notify(replace(ANSWER, mark=mark), bot(slack, "C0CPU"))
    assert len(slack.posts) == 4
    notify(replace(ANSWER, text="the same news in other words"), bot(slack, "C0CPU"))
    assert len(slack.posts) == 4


def test_a_message_is_found_behind_many_others(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "C0CPU"))
    for number in range(450):
        slack.accept("chat.postMessage", "C0CPU", {"text": f"chat {number}"})
    slack.requests.clear()
    receipt = notify(ANSWER, bot(slack, "C0CPU"))
    assert receipt["ts"] == slack.posts[0].ts
    assert [request.path for request in slack.requests] == ["/api/conversations.history"] * 3


def test_what_is_older_than_the_news_is_not_looked_at(slack: SlackServer) -> None:
    notify(ANSWER, bot(slack, "C0CPU"))
    notify(replace(ANSWER, mark=replace(MARK, since=time.time() + 500)), bot(slack, "C0CPU"))
    assert len(slack.posts) == 1, "clocks may differ by some minutes"
    notify(replace(ANSWER, mark=replace(MARK, since=time.time() + 3_600)), bot(slack, "C0CPU"))
    assert len(slack.posts) == 2


@pytest.mark.parametrize(
    ("fault", "wait"), [(Fault(503), None), (Fault(429, headers={"Retry-After": "9"}), 9)]
)
def test_nothing_is_posted_while_the_channel_cannot_be_looked_at(
    slack: SlackServer, fault: Fault, wait: int | None
) -> None:
    slack.history_faults.put(fault)
    with pytest.raises(SlackAway) as away:
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
def test_where_the_channel_is_not_shown_a_message_may_be_there_twice_and_the_log_says_what_helps(
    slack: SlackServer, channel: str, scopes: set[str], remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.scopes = scopes
    slack.faults.put(Fault(500, accepts=True))
    with pytest.raises(SlackAway):
        notify(ANSWER, bot(slack, channel))
    notify(ANSWER, bot(slack, channel))
    assert len(slack.posts) == 2
    assert re.search(remedy, caplog.text)


def test_a_private_channel_is_looked_at_with_a_scope_of_its_own(slack: SlackServer) -> None:
    slack.scopes = {"chat:write", "groups:history"}
    for _ in range(2):
        notify(ANSWER, bot(slack, "C0SECRET"))
    assert len(slack.posts) == 1


def test_a_webhook_cannot_be_asked_and_may_post_twice(slack: SlackServer) -> None:
    slack.faults.put(Fault(500, accepts=True))
    with pytest.raises(SlackAway, match="may have been posted"):
        notify(ANSWER, webhook(slack))
    notify(ANSWER, webhook(slack))
    assert len(slack.posts) == 2


TELL = """
import json, sys, types
from datetime import UTC, datetime
from dags.notifications import tell

began = datetime.fromtimestamp(float(sys.argv[1]), UTC)
run = types.SimpleNamespace(dag_id="cpu", run_id="r", run_after=began)
result = {"verdict": "part1", "status": "loop", "acc": "5", "start": "20261122-084725-a1b2c3", "cpu": 0}
print(json.dumps(tell(result, {"dag_run": run})))
"""


@pytest.mark.parametrize("posted", [True, False])
def test_a_task_that_is_killed_while_it_tells_has_told_once_when_it_is_tried_again(
    tmp_path: Path, posted: bool
) -> None:
    """Killed when Slack has the message and has not answered; and when the message is looked for."""
    stored = {"conn_type": "generic", "password": TOKEN}
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
    with SlackServer() as slack:
        stored["extra"] = json.dumps({"channel": "C0CPU", "base_url": slack.api})
        environment["AIRFLOW_CONN_SLACK_CPU"] = json.dumps(stored)
        faults = slack.faults if posted else slack.history_faults
        faults.put(Fault(silent=True, accepts=posted))
        task = [sys.executable, "-c", TELL, str(time.time())]
        with subprocess.Popen(task, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as killed:
            try:
                assert slack.fallen_silent.wait(60)
            finally:
                killed.kill()
        assert len(slack.posts) == posted
        again = subprocess.run(task, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        [post] = slack.posts
    assert json.loads(again.stdout.splitlines()[-1])["ts"] == post.ts

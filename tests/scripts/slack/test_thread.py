"""The messages about a start run are one thread: the start begins it, the others reply to it, once each."""

import time
from dataclasses import replace
from typing import Any

import pytest

from scripts.slack.errors import SlackUnavailable
from scripts.slack.messages import Answer, Mark, Message, Swap, answer_message, failure_message, start_message
from scripts.slack_notify import notify
from tests.support.slack.posts import Post
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.ways import bot, webhook

START = "20261122-084725-a1b2c3"
NOW = time.time()
STARTED = start_message(START, "nop +0\n", 1, 2, 1, "http://localhost:8080/s", NOW)
ANSWER = Message(f"Part 1: 5\nStart run {START}", "http://localhost:8080/r", Mark(START, "part1", NOW))
FAILED = failure_message(
    START, "cpu_watch", "w", "resume", "these came to nothing", "Clear it", "http://localhost:8080/w", NOW
)


def post_as_bot(slack: SlackServer, message: Message, channel: str = "C0CPU") -> Post:
    """Post a message as a bot; return the post in Slack."""
    receipt = notify(message, bot(slack, channel))
    return next(post for post in slack.posts if post.ts == receipt["ts"])


def post_earlier(slack: SlackServer, mark: Mark, **body: Any) -> Post:
    """Add a message with a mark to the channel, as an earlier try would have posted it."""
    payload = {"start": mark.start, "news": mark.kind, **({"about": mark.about} if mark.about else {})}
    metadata = {"event_type": "cluster_cpu", "event_payload": payload}
    return slack.accept("chat.postMessage", "C0CPU", {"text": "earlier", "metadata": metadata, **body})


@pytest.mark.parametrize("message", [ANSWER, FAILED])
def test_messages_after_the_start_reply_to_it_and_are_shown_in_the_channel(
    slack: SlackServer, message: Message
) -> None:
    root = post_as_bot(slack, STARTED)
    reply = post_as_bot(slack, message)
    assert root.thread is None
    assert reply.thread == root.ts
    assert reply.is_in_channel


def test_start_is_posted_only_once_when_retried(slack: SlackServer) -> None:
    root = post_as_bot(slack, STARTED)
    post_as_bot(slack, ANSWER)
    assert post_as_bot(slack, STARTED) == root
    assert len(slack.posts) == 2


def test_answer_before_the_start_is_in_no_thread_and_stays_there(slack: SlackServer) -> None:
    answer = post_as_bot(slack, ANSWER)
    assert answer.thread is None
    post_as_bot(slack, STARTED)
    assert post_as_bot(slack, ANSWER) == answer
    assert len(slack.posts) == 2


@pytest.mark.parametrize("broadcast", [True, False])
def test_answer_that_is_already_in_the_thread_is_found(slack: SlackServer, broadcast: bool) -> None:
    """A broadcast reply is in the channel's history and in the thread, any other only in the thread."""
    root = post_as_bot(slack, STARTED)
    seen = {"reply_broadcast": True} if broadcast else {}
    earlier = post_earlier(slack, Mark(START, "part1", NOW), thread_ts=root.ts, **seen)
    assert post_as_bot(slack, ANSWER) == earlier
    assert len(slack.posts) == 2


def test_answer_is_found_behind_several_pages_of_replies(slack: SlackServer) -> None:
    root = post_as_bot(slack, STARTED)
    for number in range(450):
        slack.accept("chat.postMessage", "C0CPU", {"text": f"chat {number}", "thread_ts": root.ts})
    earlier = post_earlier(slack, Mark(START, "part1", NOW), thread_ts=root.ts)
    slack.requests.clear()
    assert post_as_bot(slack, ANSWER) == earlier
    paths = [request.path.rpartition(".")[2] for request in slack.requests]
    assert paths == ["history", "replies", "replies", "replies"]


@pytest.mark.parametrize("fault", [Fault(500, accepts=True), Fault(cut=True, accepts=True)])
def test_retry_finds_the_reply_if_only_slack_s_answer_was_lost(slack: SlackServer, fault: Fault) -> None:
    post_as_bot(slack, STARTED)
    slack.faults.put(fault)
    with pytest.raises(SlackUnavailable):
        notify(ANSWER, bot(slack, "C0CPU"))
    assert post_as_bot(slack, ANSWER) == slack.posts[1]
    assert len(slack.posts) == 2


def test_thread_of_another_start_run_is_not_used(slack: SlackServer) -> None:
    post_as_bot(slack, replace(STARTED, mark=Mark("20261122-084725-ffffff", "started", NOW)))
    assert post_as_bot(slack, ANSWER).thread is None


def test_first_of_two_start_messages_has_the_thread(slack: SlackServer) -> None:
    first, _ = (post_earlier(slack, Mark(START, "started", NOW)) for _ in range(2))
    assert post_as_bot(slack, ANSWER).thread == first.ts


def test_answer_is_in_no_thread_if_the_start_was_deleted(slack: SlackServer) -> None:
    slack.delete(post_as_bot(slack, STARTED))
    assert post_as_bot(slack, ANSWER).thread is None


@pytest.mark.parametrize("word", ["cannot_reply_to_message", "invalid_thread_ts"])
def test_start_that_is_deleted_while_replying_is_left_to_the_next_try(slack: SlackServer, word: str) -> None:
    root = post_as_bot(slack, STARTED)
    slack.faults.put(Fault(200, f'{{"ok": false, "error": "{word}"}}'))
    with pytest.raises(SlackUnavailable):
        notify(ANSWER, bot(slack, "C0CPU"))
    slack.delete(root)
    assert post_as_bot(slack, ANSWER).thread is None
    assert len(slack.posts) == 1


def test_nothing_is_posted_while_the_thread_is_unavailable(slack: SlackServer) -> None:
    post_as_bot(slack, STARTED)
    slack.thread_faults.put(Fault(503))
    with pytest.raises(SlackUnavailable) as away:
        notify(ANSWER, bot(slack, "C0CPU"))
    assert "may have been posted" not in str(away.value)
    assert len(slack.posts) == 1


def test_answer_is_in_no_thread_if_slack_refuses_to_show_it(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A retry finds the answer there, as Slack shows the channel's history."""
    post_as_bot(slack, STARTED)
    slack.thread_faults.put(Fault(200, '{"ok": false, "error": "thread_not_found"}'))
    answer = post_as_bot(slack, ANSWER)
    assert answer.thread is None
    assert "Slack does not show" in caplog.text
    assert post_as_bot(slack, ANSWER) == answer


def test_messages_are_in_no_thread_if_slack_does_not_show_the_history(slack: SlackServer) -> None:
    for one in (STARTED, ANSWER):
        post_as_bot(slack, one, channel="#cpu")
        notify(one, webhook(slack))
    slack.scopes = {"chat:write"}
    for one in (STARTED, ANSWER):
        post_as_bot(slack, one)
    assert [post.thread for post in slack.posts] == [None] * 6


def test_failure_is_posted_once_per_task(slack: SlackServer) -> None:
    for task in ("store", "start_cpus", "store"):
        post_as_bot(slack, failure_message(START, "cpu_start", "r", task, "no", "Clear it", "http://a/", NOW))
    assert [post.mark for post in slack.posts] == [
        (START, "failed-cpu_start-store"),
        (START, "failed-cpu_start-start_cpus"),
    ]


def test_failure_with_another_cause_or_of_another_run_is_posted_too(slack: SlackServer) -> None:
    for _ in range(2):
        for run, why in (("r", "no"), ("r", "no memory"), ("r2", "no memory")):
            post_as_bot(
                slack, failure_message(START, "cpu_watch", run, "resume", why, "Clear it", "http://a/", NOW)
            )
    assert [post.shown.splitlines()[1] for post in slack.posts] == ["no", "no memory", "no memory"]


def test_each_cpu_that_ends_has_its_own_answer_posted_once(slack: SlackServer) -> None:
    """Whichever DAG run of its cycle posts it."""
    root = post_as_bot(slack, STARTED)
    swap = Swap(8, "jmp -4", "nop -4")
    answers = [
        answer_message(Answer("part2", START, link, acc=acc, cpu=cpu, swap=swap, since=NOW))
        for cpu, acc, link in [(8, "5", "http://a/1"), (12, "7", "http://a/1"), (8, "5", "http://a/again-1")]
    ]
    posts = [post_as_bot(slack, answer) for answer in (*answers, *answers)]
    assert posts[:3] == posts[3:] == [slack.posts[1], slack.posts[2], slack.posts[1]]
    assert [post.thread for post in slack.posts[1:]] == [root.ts, root.ts]


def test_that_no_swap_ends_the_program_is_posted_once_whichever_cpu_finds_it(slack: SlackServer) -> None:
    """After Redis was restored from a backup, another CPU may find it."""
    for cpu in (4, 12):
        post_as_bot(
            slack,
            answer_message(
                Answer.from_result({"verdict": "none", "start": START, "cpu": cpu}, "http://a/", NOW)
            ),
        )
    assert len(slack.posts) == 1

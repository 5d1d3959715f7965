"""A start run's story is one thread: it begins with the start, and what comes later replies to it, once."""

import time
from dataclasses import replace
from typing import Any

import pytest

from scripts.slack.errors import SlackAway
from scripts.slack.messages import Mark, Message, News, Swap, failed, message, started
from scripts.slack_notify import notify
from tests.support.slack.posts import Post
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.ways import bot, webhook

START = "20261122-084725-a1b2c3"
NOW = time.time()
BEGUN = started(START, "nop +0\n", 1, 2, 1, "http://localhost:8080/s", NOW)
ANSWER = Message(f"Part 1: 5\nStart run {START}", "http://localhost:8080/r", Mark(START, "part1", NOW))
FAILED = failed(START, "cpu_watch", "w", "resume", "these came to nothing", "http://localhost:8080/w", NOW)


def tell(slack: SlackServer, message: Message, channel: str = "C0CPU") -> Post:
    """The post that a message has become."""
    receipt = notify(message, bot(slack, channel))
    return next(post for post in slack.posts if post.ts == receipt["ts"])


def put(slack: SlackServer, mark: Mark, **body: Any) -> Post:
    """A message that carries a mark, as an earlier try has posted it."""
    payload = {"start": mark.start, "news": mark.news, **({"about": mark.about} if mark.about else {})}
    metadata = {"event_type": "cluster_cpu", "event_payload": payload}
    return slack.accept("chat.postMessage", "C0CPU", {"text": "earlier", "metadata": metadata, **body})


@pytest.mark.parametrize("news", [ANSWER, FAILED])
def test_what_comes_after_the_start_replies_to_it_and_the_channel_sees_it(
    slack: SlackServer, news: Message
) -> None:
    root = tell(slack, BEGUN)
    reply = tell(slack, news)
    assert root.thread is None
    assert reply.thread == root.ts
    assert reply.is_in_channel


def test_the_start_is_told_once_however_often_it_is_tried(slack: SlackServer) -> None:
    root = tell(slack, BEGUN)
    tell(slack, ANSWER)
    assert tell(slack, BEGUN) == root
    assert len(slack.posts) == 2


def test_without_a_start_an_answer_is_a_message_of_its_own_and_stays_one(slack: SlackServer) -> None:
    answer = tell(slack, ANSWER)
    assert answer.thread is None
    tell(slack, BEGUN)
    assert tell(slack, ANSWER) == answer
    assert len(slack.posts) == 2


@pytest.mark.parametrize("broadcast", [True, False])
def test_an_answer_that_is_in_the_thread_already_is_found_there(slack: SlackServer, broadcast: bool) -> None:
    """Wherever Slack shows it: a reply that the channel sees is in both places, another one only there."""
    root = tell(slack, BEGUN)
    seen = {"reply_broadcast": True} if broadcast else {}
    earlier = put(slack, Mark(START, "part1", NOW), thread_ts=root.ts, **seen)
    assert tell(slack, ANSWER) == earlier
    assert len(slack.posts) == 2


def test_an_answer_is_found_behind_many_replies(slack: SlackServer) -> None:
    root = tell(slack, BEGUN)
    for number in range(450):
        slack.accept("chat.postMessage", "C0CPU", {"text": f"chat {number}", "thread_ts": root.ts})
    earlier = put(slack, Mark(START, "part1", NOW), thread_ts=root.ts)
    slack.requests.clear()
    assert tell(slack, ANSWER) == earlier
    paths = [request.path.rpartition(".")[2] for request in slack.requests]
    assert paths == ["history", "replies", "replies", "replies"]


@pytest.mark.parametrize("fault", [Fault(500, accepts=True), Fault(cut=True, accepts=True)])
def test_a_reply_whose_answer_is_lost_is_found_by_the_next_try(slack: SlackServer, fault: Fault) -> None:
    tell(slack, BEGUN)
    slack.faults.put(fault)
    with pytest.raises(SlackAway):
        notify(ANSWER, bot(slack, "C0CPU"))
    assert tell(slack, ANSWER) == slack.posts[1]
    assert len(slack.posts) == 2


def test_another_start_run_s_thread_is_none_of_its_own(slack: SlackServer) -> None:
    tell(slack, replace(BEGUN, mark=Mark("20261122-084725-ffffff", "started", NOW)))
    assert tell(slack, ANSWER).thread is None


def test_of_two_starts_the_first_has_the_thread(slack: SlackServer) -> None:
    first, _ = (put(slack, Mark(START, "started", NOW)) for _ in range(2))
    assert tell(slack, ANSWER).thread == first.ts


def test_where_the_start_was_deleted_the_answer_is_a_message_of_its_own(slack: SlackServer) -> None:
    slack.delete(tell(slack, BEGUN))
    assert tell(slack, ANSWER).thread is None


@pytest.mark.parametrize("word", ["cannot_reply_to_message", "invalid_thread_ts"])
def test_a_start_that_is_deleted_just_now_is_left_to_the_next_try(slack: SlackServer, word: str) -> None:
    root = tell(slack, BEGUN)
    slack.faults.put(Fault(200, f'{{"ok": false, "error": "{word}"}}'))
    with pytest.raises(SlackAway):
        notify(ANSWER, bot(slack, "C0CPU"))
    slack.delete(root)
    assert tell(slack, ANSWER).thread is None
    assert len(slack.posts) == 1


def test_nothing_is_posted_while_the_thread_cannot_be_looked_at(slack: SlackServer) -> None:
    tell(slack, BEGUN)
    slack.thread_faults.put(Fault(503))
    with pytest.raises(SlackAway) as away:
        notify(ANSWER, bot(slack, "C0CPU"))
    assert "may have been posted" not in str(away.value)
    assert len(slack.posts) == 1


def test_where_slack_does_not_show_the_thread_the_answer_is_a_message_of_its_own(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """There the next try finds it, for the channel's history is shown."""
    tell(slack, BEGUN)
    slack.thread_faults.put(Fault(200, '{"ok": false, "error": "thread_not_found"}'))
    answer = tell(slack, ANSWER)
    assert answer.thread is None
    assert "cannot be seen" in caplog.text
    assert tell(slack, ANSWER) == answer


def test_where_the_history_is_not_shown_everything_is_a_message_of_its_own(slack: SlackServer) -> None:
    for one in (BEGUN, ANSWER):
        tell(slack, one, channel="#cpu")
        notify(one, webhook(slack))
    slack.scopes = {"chat:write"}
    for one in (BEGUN, ANSWER):
        tell(slack, one)
    assert [post.thread for post in slack.posts] == [None] * 6


def test_a_failure_is_told_once_per_task(slack: SlackServer) -> None:
    for task in ("store", "start_cpus", "store"):
        tell(slack, failed(START, "cpu_start", "r", task, "no", "http://a/", NOW))
    assert [post.mark for post in slack.posts] == [
        (START, "failed-cpu_start-store"),
        (START, "failed-cpu_start-start_cpus"),
    ]


def test_another_cause_or_another_run_is_another_failure(slack: SlackServer) -> None:
    for _ in range(2):
        for run, why in (("r", "no"), ("r", "no memory"), ("r2", "no memory")):
            tell(slack, failed(START, "cpu_watch", run, "resume", why, "http://a/", NOW))
    assert [post.shown.splitlines()[1] for post in slack.posts] == ["no", "no memory", "no memory"]


def test_each_cpu_that_ends_has_an_answer_of_its_own_and_it_is_told_once(slack: SlackServer) -> None:
    """However often, and by whichever run of its cycle it is told."""
    root = tell(slack, BEGUN)
    swap = Swap(8, "jmp -4", "nop -4")
    answers = [
        message(News("part2", START, link, acc=acc, cpu=cpu, swap=swap, since=NOW))
        for cpu, acc, link in [(8, "5", "http://a/1"), (12, "7", "http://a/1"), (8, "5", "http://a/again-1")]
    ]
    told = [tell(slack, answer) for answer in (*answers, *answers)]
    assert told[:3] == told[3:] == [slack.posts[1], slack.posts[2], slack.posts[1]]
    assert [post.thread for post in slack.posts[1:]] == [root.ts, root.ts]


def test_which_cpu_finds_that_no_swap_helps_makes_no_difference(slack: SlackServer) -> None:
    """After Redis was restored from a backup it may be another one."""
    for cpu in (4, 12):
        tell(slack, message(News.of({"verdict": "none", "start": START, "cpu": cpu}, "http://a/", NOW)))
    assert len(slack.posts) == 1

"""Posting: to Slack by a bot or a webhook, to the log without a connection, or a clear error."""

import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.slack.connection import Bot, Webhook, destination
from scripts.slack.errors import SlackRefused, SlackUnavailable
from scripts.slack.messages import Message
from scripts.slack_notify import notify
from tests.support.slack.rules import unescape
from tests.support.slack.server import TOKEN, WEBHOOK_PATH, Fault, SlackServer
from tests.support.slack.ways import WEBHOOK, Stored, Way, bot, webhook

ANSWER = Message("Part 1: 5\nCPU 0 · 7 cycles", "http://localhost:8080/dags/cpu/runs/r?a=1&b=2")


def test_without_a_connection_the_message_is_only_logged() -> None:
    assert notify(ANSWER, None) == {"posted": "log", "channel": None, "ts": None, "text": str(ANSWER)}


@pytest.mark.parametrize("channel", ["#cpu", "C0CPU"])
def test_bot_posts_to_its_channel_and_returns_where_the_message_is(slack: SlackServer, channel: str) -> None:
    receipt = notify(ANSWER, bot(slack, channel))
    [post] = slack.posts
    assert receipt == {"posted": "slack", "channel": "C0CPU", "ts": post.ts, "text": str(ANSWER)}
    assert post.via == "chat.postMessage"
    assert post.body["channel"] == channel
    assert unescape(post.body["text"]) == str(ANSWER)
    assert post.shown == f"{ANSWER.text}\nDAG run ({ANSWER.link})"


def test_webhook_posts_the_same_message_as_a_bot(slack: SlackServer) -> None:
    receipt = notify(ANSWER, webhook(slack))
    assert receipt == {"posted": "slack", "channel": None, "ts": None, "text": str(ANSWER)}
    notify(ANSWER, bot(slack))
    by_webhook, by_bot = (post.body for post in slack.posts)
    assert by_webhook == {name: value for name, value in by_bot.items() if name != "channel"}


@pytest.mark.parametrize("way", [bot, webhook])
def test_hosts_in_no_proxy_are_reached_without_the_proxy(
    slack: SlackServer, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert notify(ANSWER, way(slack))["posted"] == "slack"


@pytest.mark.parametrize(
    ("channel", "token", "error", "remedy"),
    [
        ("#nowhere", TOKEN, "channel_not_found", "correct the channel"),
        ("#archived", TOKEN, "is_archived", "unarchive"),
        ("#uninvited", TOKEN, "not_in_channel", "/invite the bot"),
        ("#cpu", "xoxb-wrong", "invalid_auth", "copy the bot token again"),
    ],
)
def test_refusal_names_slack_s_error_and_the_remedy(
    slack: SlackServer, channel: str, token: str, error: str, remedy: str
) -> None:
    with pytest.raises(SlackRefused, match=f"{error}.*{remedy}") as refused:
        notify(ANSWER, bot(slack, channel, token))
    assert token not in str(refused.value)
    assert not slack.posts
    assert len(slack.requests) == 1


def test_refusal_of_a_removed_webhook_names_the_remedy(slack: SlackServer) -> None:
    with pytest.raises(SlackRefused, match=r"no_service.*make a new webhook"):
        notify(ANSWER, webhook(slack, "https://hooks.slack.com/services/T0/B0/revoked"))


@pytest.mark.parametrize("way", [bot, webhook])
def test_message_that_is_too_long_for_slack_is_refused(slack: SlackServer, way: Way) -> None:
    with pytest.raises(SlackRefused, match="msg_too_long"):
        notify(Message("5" * 40_001), way(slack))
    assert not slack.posts


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("7", 7), ("3600", 3600), ("9" * 5_000, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
@pytest.mark.parametrize("way", [bot, webhook])
def test_rate_limit_carries_the_pause_that_slack_asks_for(
    slack: SlackServer, way: Way, asked: str, wait: int | None
) -> None:
    slack.faults.put(Fault(429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": asked}))
    with pytest.raises(SlackUnavailable, match=r"pause \(HTTP 429") as away:
        notify(ANSWER, way(slack))
    assert away.value.wait == wait
    assert len(slack.requests) == 1


@pytest.mark.parametrize("fault", [Fault(500), Fault(503, "<html>upstream"), Fault(cut=True)])
@pytest.mark.parametrize("way", [bot, webhook])
def test_server_error_is_left_to_a_later_try(slack: SlackServer, way: Way, fault: Fault) -> None:
    slack.faults.put(fault)
    with pytest.raises(SlackUnavailable, match="may have been posted") as away:
        notify(ANSWER, way(slack))
    assert away.value.wait is None
    assert len(slack.requests) == 1


@pytest.mark.usefixtures("_short_timeout")
@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("way", [bot, webhook])
def test_timeout_does_not_lead_to_a_second_request(slack: SlackServer, way: Way, accepts: bool) -> None:
    slack.faults.put(Fault(silent=True, accepts=accepts))
    with pytest.raises(SlackUnavailable, match=r"may have been posted"):
        notify(ANSWER, way(slack))
    assert len(slack.requests) == 1
    assert len(slack.posts) == accepts


@pytest.mark.usefixtures("_short_timeout")
@pytest.mark.parametrize("secret", [TOKEN, WEBHOOK])
def test_refused_connection_means_that_nothing_was_posted(secret: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    extra = json.dumps({"channel": "#cpu", "base_url": f"http://127.0.0.1:{port}/"})
    with pytest.raises(SlackUnavailable, match=r"refused") as away:
        notify(ANSWER, Stored(secret, extra))
    assert "may have been posted" not in str(away.value)
    assert WEBHOOK_PATH not in str(away.value)


@pytest.mark.parametrize("body", ["<html>a proxy's login page", "[]", "null", "{", ""])
def test_bot_rejects_an_answer_that_is_not_from_slack(slack: SlackServer, body: str) -> None:
    slack.faults.put(Fault(200, body))
    with pytest.raises(SlackUnavailable, match="may have been posted"):
        notify(ANSWER, bot(slack))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "ok\n"),
        (200, '"ok"'),
        (200, '{"ok":true}'),  # Slack's workflow triggers
        (200, '{"success": true}'),  # Rocket.Chat
        (200, '{"result":"success","msg":""}'),  # Zulip
        (200, "1"),  # Teams
        (200, ""),
        (202, ""),
        (204, ""),  # Discord
        (200, "[]"),
        (200, '{"name": "spaces/A/messages/no_error"}'),  # Google Chat
        (200, "Thank you!"),
    ],
)
def test_webhook_accepts_the_success_answers_of_other_chats(
    slack: SlackServer, status: int, body: str
) -> None:
    slack.faults.put(Fault(status, body, accepts=True))
    assert notify(ANSWER, webhook(slack))["posted"] == "slack"


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ("no_service", "no_service.*make a new webhook"),
        ('"no_service"', "no_service.*make a new webhook"),
        ("invalid_token", "invalid_token.*make a new webhook"),
        ("channel_is_archived", "channel_is_archived.*unarchive"),
        ("posting_to_general_channel_denied", "posting_to_general_channel_denied.*see https"),
        ('{"ok":false,"error":"no_service"}', "no_service.*make a new webhook"),
        ('{"ok": false, "error": "Nobody home"}', "Nobody home.*check its address"),
        ('{"success": false}', "success.*check its address"),
        (
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
            "429",
        ),
        ("<html>a proxy's login page", "web page.*no proxy asks for a login"),
        ("\n<!DOCTYPE html>", "web page.*no proxy asks for a login"),
    ],
)
def test_error_in_a_webhook_s_answer_of_200_is_a_refusal_with_a_remedy(
    slack: SlackServer, body: str, remedy: str
) -> None:
    slack.faults.put(Fault(200, body))
    with pytest.raises(SlackRefused, match=remedy):
        notify(ANSWER, webhook(slack))
    assert len(slack.requests) == 1


@pytest.mark.parametrize("body", ["fatal_error", '{"ok":false,"error":"ratelimited"}'])
def test_temporary_error_in_a_webhook_s_answer_of_200_is_left_to_a_later_try(
    slack: SlackServer, body: str
) -> None:
    slack.faults.put(Fault(200, body))
    with pytest.raises(SlackUnavailable):
        notify(ANSWER, webhook(slack))


def test_error_that_quotes_the_webhook_s_address_is_redacted(slack: SlackServer) -> None:
    address = webhook(slack).password or ""
    repeated = f"{slack.url}{WEBHOOK_PATH}"
    slack.faults.put(Fault(200, json.dumps({"ok": False, "error": f"nothing at {repeated}"})))
    with pytest.raises(SlackRefused) as refused:
        notify(ANSWER, Stored(address, json.dumps({"base_url": slack.url})))
    assert WEBHOOK_PATH not in str(refused.value)


def test_error_that_quotes_the_token_is_redacted(slack: SlackServer) -> None:
    slack.faults.put(Fault(200, json.dumps({"ok": False, "error": f"bad token {TOKEN}"})))
    with pytest.raises(SlackUnavailable, match=r"bad token \*\*\*"):
        notify(ANSWER, bot(slack))


@pytest.mark.parametrize(
    ("stored", "remedy"),
    [
        (Stored(None), "neither a bot token"),
        (Stored("hunter2-secret"), "neither a bot token"),
        (Stored("http://hooks.slack.com/services/T0/B0/hunter2-secret"), "neither a bot token"),
        (Stored("xoxb-hunter2-secret"), 'add the extra {"channel": "C0123456789"}'),
        (Stored("xoxb-hunter2-secret", '{"channel": ""}'), 'add the extra {"channel": "C0123456789"}'),
        (Stored("xoxb-hunter2-secret", "channel=hunter2-secret"), "not a JSON object"),
        (Stored("xoxb-hunter2-secret", '{"channel": 5}'), "not a JSON object of strings"),
        (Stored("xoxb-hunter2-secret", '["hunter2-secret"]'), "not a JSON object"),
        (Stored("xoxb-hunter2-secret", '{"channel": "#c", "base_url": "ftp://hunter2-secret"}'), "base_url"),
    ],
)
def test_unusable_connection_is_refused_with_the_remedy_and_without_the_secret(
    stored: Stored, remedy: str
) -> None:
    with pytest.raises(SlackRefused) as refused:
        destination(stored)
    assert remedy in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_connection_without_base_url_leads_to_slack() -> None:
    assert destination(Stored(f"{TOKEN}\n", '{"channel": " #cpu "}')) == Bot(
        TOKEN, "#cpu", "https://slack.com/api/"
    )
    assert destination(Stored(WEBHOOK)) == Webhook(WEBHOOK)
    assert TOKEN not in repr(Bot(TOKEN, "#cpu"))
    assert WEBHOOK not in repr(Webhook(WEBHOOK))


@given(
    around=st.tuples(
        st.sampled_from(["", "xoxb-", "https://a/", "https://a:", "https://"]), st.text(), st.text()
    )
)
def test_malformed_secret_is_never_quoted_in_an_error(around: tuple[str, str, str]) -> None:
    kind, before, after = around
    stored = Stored(f"{kind}{before}hunter2{after}", '{"channel": "#cpu"}')
    try:
        text = repr(destination(stored))
    except SlackRefused as refused:
        text = str(refused)
    assert "hunter2" not in text


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["C"]), min_size=1), by_bot=st.booleans())
def test_any_text_is_shown_as_it_was_written(text: str, by_bot: bool) -> None:
    with SlackServer() as slack:
        notify(Message(text), bot(slack) if by_bot else webhook(slack))
        [post] = slack.posts
    assert post.shown == unescape(post.body["text"]) == text

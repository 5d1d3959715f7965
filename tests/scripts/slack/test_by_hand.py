"""The command that posts a test message, the command of the stand-in for Slack, and Airflow's connections."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import slack_notify
from scripts.slack.api import post
from scripts.slack.connection import Bot
from scripts.slack.messages import Message
from tests.support.slack.server import TOKEN, WEBHOOK_PATH, Fault, SlackServer

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "CHANNEL", "WEBHOOK_URL", "BASE_URL"):
        monkeypatch.delenv(f"SLACK_{name}", raising=False)


@pytest.mark.parametrize(
    ("channel", "scopes", "note"),
    [
        ("C0CPU", {"chat:write", "channels:history"}, ""),
        ("C0CPU", {"chat:write"}, "posted twice.*channels:history"),
        ("#cpu", {"chat:write", "channels:history"}, "posted twice.*by its id"),
    ],
)
def test_command_posts_as_a_bot_and_warns_if_its_message_is_not_found_again(
    slack: SlackServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    channel: str,
    scopes: set[str],
    note: str,
) -> None:
    slack.scopes = scopes
    for name, value in {"TOKEN": TOKEN, "CHANNEL": channel, "BASE_URL": slack.api}.items():
        monkeypatch.setenv(f"SLACK_{name}", value)
    assert slack_notify.main(["--text", "hello"]) == 0
    [post] = slack.posts
    assert post.shown == "hello"
    receipt = {"posted": "slack", "channel": "C0CPU", "ts": post.ts, "text": "hello"}
    out, err = capfd.readouterr()
    assert json.loads(out) == receipt
    assert re.search(note, err) if note else not err


def test_command_posts_by_a_webhook(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"https://hooks.slack.com{WEBHOOK_PATH}")
    monkeypatch.setenv("SLACK_BASE_URL", slack.url)
    assert slack_notify.main([]) == 0
    assert [post.via for post in slack.posts] == ["webhook"]


def test_exit_code_is_2_if_a_person_must_correct_something(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TOKEN": TOKEN, "CHANNEL": "#nowhere", "BASE_URL": slack.api}.items():
        monkeypatch.setenv(f"SLACK_{name}", value)
    assert slack_notify.main([]) == 2
    monkeypatch.delenv("SLACK_CHANNEL")
    assert slack_notify.main([]) == 2
    monkeypatch.delenv("SLACK_TOKEN")
    with pytest.raises(SystemExit, match="2"):
        slack_notify.main([])


def test_exit_code_is_1_if_slack_is_unavailable(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": TOKEN, "CHANNEL": "#cpu", "BASE_URL": slack.api}.items():
        monkeypatch.setenv(f"SLACK_{name}", value)
    slack.faults.put(Fault(502))
    assert slack_notify.main([]) == 1


def test_stand_in_prints_every_post_as_a_json_line() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.slack.server", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        try:
            assert server.stdout
            assert server.stderr
            [base_url] = re.findall(r"base_url (\S+),", server.stderr.readline())
            post(Message("hello"), Bot(TOKEN, "#cpu", base_url))
            line = json.loads(server.stdout.readline())
        finally:
            server.terminate()
    assert (line["via"], line["channel"], line["shown"]) == ("chat.postMessage", "C0CPU", "hello")


def test_importing_slack_notify_imports_neither_airflow_nor_the_sdk() -> None:
    heavy = "{'airflow', 'slack_sdk'} & {name.partition('.')[0] for name in sys.modules}"
    code = f"import sys, scripts.slack_notify; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_connection_is_airflow_s_or_none_if_airflow_has_none(tmp_path: Path) -> None:
    """In a new process, where Airflow reads connections from the environment and needs no database."""
    code = (
        "from scripts.slack.connection import connection, destination\n"
        "import os\n"
        "assert connection() is None\n"
        "os.environ['AIRFLOW_CONN_SLACK_CPU'] = os.environ['LATER']\n"
        "print(destination(connection()))\n"
    )
    later = {"conn_type": "generic", "password": TOKEN, "extra": {"channel": "#cpu"}}
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "LATER": json.dumps(later)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1] == repr(Bot(TOKEN, "#cpu"))
    assert TOKEN not in ran.stdout + ran.stderr

"""No secret is shown: all that the stack logs and shows while programs run is searched for secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import NamedTuple

import psutil
import pytest
import yaml
from kubernetes.watch import Watch

from scripts.airflow_api import JSON
from scripts.local.passwords import passwords
from scripts.local.services import kubernetes
from scripts.local.settings import REPOSITORY
from tests.support.slack.server import TOKEN
from tests.support.stack import Stack

KUBECONFIG_SECRETS = ("token", "password", "client-key-data")
FILES_WITH_SECRETS = {
    *("passwords.json", "airflow/passwords.json", "airflow/airflow.cfg", "airflow/environment.json"),
    *("airflow/wall.json", "redis/redis.conf", "kube/token", "kube/kubeconfig"),
}


def secrets(stack: Stack) -> dict[str, str]:
    """Return every secret of a stack, by its name."""
    config = yaml.safe_load(stack.settings.cluster_config.read_text())
    in_kubeconfig = {
        f"{kind} of {entry['name']}": entry["user"][kind]
        for entry in config["users"]
        for kind in KUBECONFIG_SECRETS
        if kind in entry["user"]
    }
    assert in_kubeconfig
    return {**asdict(passwords(stack.settings.state)), "Slack's token": TOKEN, **in_kubeconfig}


@contextmanager
def commands_seen() -> Iterator[set[str]]:
    """Collect the command lines of all processes of this machine during the block."""
    seen: set[str] = set()
    ended = threading.Event()

    def collect() -> None:
        while not ended.wait(0.1):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


class Shown(NamedTuple):
    """What is shown in one place, and a text in it that proves that it is the right place."""

    text: str
    expected: str


@pytest.fixture(scope="module")
def shown(stack: Stack) -> dict[str, Shown]:
    """What is shown, by place, of a program that is answered and of one that is refused."""
    core, namespace = kubernetes.core_api(stack.settings), stack.settings.namespace
    before = core.list_namespaced_pod(namespace).metadata.resource_version
    with commands_seen() as commands:
        run = stack.start(cycles=3)
        state, start = stack.finish(run)
        refused = stack.start(program=f"nop +0\n{start} +1\n")
        assert (state, stack.finish(refused)[0]) == ("success", "failed")

    runs = [("cpu_start", stack.api.run("cpu_start", one)) for one in (run, refused)]
    runs += [("cpu", one) for one in stack.runs(start)]
    tasks = [(dag, task) for dag, one in runs for task in stack.api.tasks(dag, one["dag_run_id"])]
    changes = Watch().stream(core.list_namespaced_pod, namespace, resource_version=before, timeout_seconds=3)
    events = core.api_client.sanitize_for_serialization(core.list_namespaced_event(namespace))
    logs = [path.read_text(errors="replace") for path in stack.settings.logs.iterdir()]
    return {
        "task logs": Shown(json.dumps([log(stack, dag, task) for dag, task in tasks]), f"'{start} +1'"),
        "XComs": Shown(json.dumps([xcoms(stack, dag, task) for dag, task in tasks]), start),
        "rendered fields": Shown(json.dumps([task["rendered_fields"] for _, task in tasks]), start),
        "DAG runs": Shown(json.dumps(runs), start),
        "pods": Shown(json.dumps([change["raw_object"] for change in changes]), start),
        "events": Shown(json.dumps(events), start),
        "command lines": Shown("\n".join(commands), "supervisor.supervisord"),
        "component logs": Shown("\n".join(logs), "api-server"),
        "make logs": Shown(make_logs(stack), "api-server"),
        "Slack": Shown("\n".join(post.shown for post in list(stack.slack.posts)), start),
    }


def log(stack: Stack, dag: str, task: JSON) -> list[JSON]:
    """Return the logs of all tries of a task, including what the UI folds."""
    options: JSON = {"params": {"full_content": True}, "headers": {"Accept": "application/json"}}
    tries = range(1, task["try_number"] + 1)
    return [stack.api.request("GET", f"{path_of(dag, task)}/logs/{one}", **options) for one in tries]


def xcoms(stack: Stack, dag: str, task: JSON) -> list[JSON]:
    path = f"{path_of(dag, task)}/xcomEntries"
    entries = stack.api.request("GET", path)["xcom_entries"]
    return [stack.api.request("GET", f"{path}/{entry['key']}") for entry in entries]


def path_of(dag: str, task: JSON) -> str:
    return f"/dags/{dag}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"


def make_logs(stack: Stack) -> str:
    command = [sys.executable, "-m", "scripts.local", "logs", "--lines", "1000000"]
    return subprocess.run(
        command, cwd=REPOSITORY, env=stack.environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "where",
    [
        *("task logs", "XComs", "rendered fields", "DAG runs", "pods", "events", "command lines"),
        *("component logs", "make logs", "Slack"),
    ],
)
def test_no_secret_is_shown(stack: Stack, shown: dict[str, Shown], where: str) -> None:
    text, expected = shown[where]
    assert expected in text
    assert [name for name, secret in secrets(stack).items() if secret in text] == []


@pytest.mark.parametrize(
    "where", ["task logs", "XComs", "rendered fields", "pods", "component logs", "make logs"]
)
def test_no_token_issued_by_airflow_is_shown(shown: dict[str, Shown], where: str) -> None:
    signed_json = r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
    assert re.findall(signed_json, shown[where].text) == []


def test_only_files_readable_by_their_owner_alone_hold_a_secret(
    stack: Stack, shown: dict[str, Shown]
) -> None:
    hidden = [secret.encode() for secret in secrets(stack).values()]
    found = set()
    for path in stack.settings.state.rglob("*"):
        with suppress(FileNotFoundError):  # a server's temporary file
            if path.is_file() and any(secret in path.read_bytes() for secret in hidden):
                found.add(str(path.relative_to(stack.settings.state)))
                assert path.stat().st_mode & 0o077 == 0
    assert {"passwords.json", "airflow/airflow.cfg", "redis/redis.conf"} <= found <= FILES_WITH_SECRETS

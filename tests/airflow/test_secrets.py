"""Nothing secret is told: a job is run, and what the stack said and showed of it is searched."""

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

IN_A_KUBECONFIG = ("token", "password", "client-key-data")
HOLD_SECRETS = {
    *("passwords.json", "airflow/passwords.json", "airflow/airflow.cfg", "airflow/environment.json"),
    *("airflow/wall.json", "redis/redis.conf", "kube/token", "kube/kubeconfig"),
}


def secrets(stack: Stack) -> dict[str, str]:
    """Every secret there is in a stack, by its name."""
    config = yaml.safe_load(stack.settings.cluster_config.read_text())
    of_users = [{**one["user"], "whose": one["name"]} for one in config["users"]]
    of_cluster = {
        f"{kind} of {user['whose']}": user[kind]
        for user in of_users
        for kind in IN_A_KUBECONFIG
        if kind in user
    }
    assert of_cluster
    return {**asdict(passwords(stack.settings.state)), "Slack's token": TOKEN, **of_cluster}


@contextmanager
def commands_seen() -> Iterator[set[str]]:
    """The command lines of all processes of this machine, as of any moment of the block."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


class Told(NamedTuple):
    """What can be seen at one place, and something that must be there if it is what it should be."""

    text: str
    surely: str


@pytest.fixture(scope="module")
def told(stack: Stack) -> dict[str, Told]:
    """What is seen of a job that comes to its answers and of one that is refused, by where it is seen."""
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
        "task logs": Told(json.dumps([log(stack, dag, task) for dag, task in tasks]), f"'{start} +1'"),
        "XComs": Told(json.dumps([xcoms(stack, dag, task) for dag, task in tasks]), start),
        "rendered fields": Told(json.dumps([task["rendered_fields"] for _, task in tasks]), start),
        "DAG runs": Told(json.dumps(runs), start),
        "pods": Told(json.dumps([change["raw_object"] for change in changes]), start),
        "events": Told(json.dumps(events), start),
        "command lines": Told("\n".join(commands), "supervisor.supervisord"),
        "component logs": Told("\n".join(logs), "api-server"),
        "make logs": Told(make_logs(stack), "api-server"),
        "Slack": Told("\n".join(post.shown for post in list(stack.slack.posts)), start),
    }


def log(stack: Stack, dag: str, task: JSON) -> list[JSON]:
    """A task's logs, whole: also what the UI folds away."""
    how: JSON = {"params": {"full_content": True}, "headers": {"Accept": "application/json"}}
    tries = range(1, task["try_number"] + 1)
    return [stack.api.request("GET", f"{path_of(dag, task)}/logs/{one}", **how) for one in tries]


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
def test_no_secret_is_told(stack: Stack, told: dict[str, Told], where: str) -> None:
    text, surely = told[where]
    assert surely in text
    assert [name for name, secret in secrets(stack).items() if secret in text] == []


@pytest.mark.parametrize(
    "where", ["task logs", "XComs", "rendered fields", "pods", "component logs", "make logs"]
)
def test_no_token_that_airflow_made_out_is_told(told: dict[str, Told], where: str) -> None:
    signed_json = r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
    assert re.findall(signed_json, told[where].text) == []


def test_only_files_that_are_their_owner_s_alone_hold_a_secret(stack: Stack, told: dict[str, Told]) -> None:
    hidden = [secret.encode() for secret in secrets(stack).values()]
    found = set()
    for path in stack.settings.state.rglob("*"):
        with suppress(FileNotFoundError):  # a server's passing file
            if path.is_file() and any(secret in path.read_bytes() for secret in hidden):
                found.add(str(path.relative_to(stack.settings.state)))
                assert path.stat().st_mode & 0o077 == 0
    assert {"passwords.json", "airflow/airflow.cfg", "redis/redis.conf"} <= found <= HOLD_SECRETS

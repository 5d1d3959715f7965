"""The pods of an items run as processes, many at once, killed at random points and started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from cpu import items, tally
from cpu.items_commands import ItemsCommands
from tests.cpu_image.test_main import CPU_IMAGE
from tests.support import redis_server as servers
from tests.support.redis_server import Server

LIBRARIES = Path(sys.prefix) / "cpu-image"
PODS, PER_POD = 16, 25
AT_ONCE = 6
KILLS = 2
"""How often each pod is killed before it may end."""


def start(url: str, index: int | None, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command as the image's entrypoint does, in the pod of that index."""
    environment = servers.environment(REDIS_URL=url, PYTHONPATH=str(LIBRARIES), RESULT_FILE=os.devnull)
    if index is not None:
        environment["JOB_COMPLETION_INDEX"] = str(index)
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "cpu", *arguments, "--items", "r"],
        cwd=CPU_IMAGE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(url: str, index: int | None, *arguments: str) -> dict[str, object]:
    """Run a command to its end, and return its result."""
    out, errors = (process := start(url, index, *arguments)).communicate(timeout=60)
    assert process.returncode == 0, errors
    found: dict[str, object] = json.loads(out)
    assert errors == f"{found['sentence']}\n"
    return found


def test_plan_work_and_report_are_the_commands_of_an_items_run(server: Server, client: redis.Redis) -> None:
    url = server.url
    planned = result(url, None, "plan", "--total", "25", "--per-pod", "10", "--seed", "7")
    assert planned["sentence"] == "items run r is planned: 25 items in 3 pods"
    assert (planned["seed"], planned["pods"]) == (7, 3)
    assert result(url, None, "work")["pod"] == 0
    assert result(url, 0, "work", "--pod", "1")["pod"] == 1
    assert (
        result(url, 1, "work", "--pod", "1")["sentence"]
        == "pod 2 of items run r, items 20 to 24: 5 done, 0 failed"
    )
    report = result(url, None, "report")
    assert str(report["sentence"]).startswith("25 items: 25 done, 0 lost, 0 doubled, 0 failed; ")
    assert report["status"] == "complete"


def test_the_plan_has_100_items_per_pod_and_seed_1_by_default(server: Server, client: redis.Redis) -> None:
    planned = result(server.url, None, "plan", "--total", "250")
    assert (planned["seed"], planned["per_pod"], planned["pods"]) == (1, 100, 3)


@pytest.mark.parametrize("index", ["-1", "one", "1000001", "1.5"])
def test_a_wrong_index_is_a_permanent_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: str
) -> None:
    from cpu.__main__ import main

    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    monkeypatch.setenv("REDIS_URL", server.url)
    assert main(["work", "--items", "r"]) == 2
    assert f"JOB_COMPLETION_INDEX is '{index}': expected from 0 to 1000000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--items", "r"], "the following arguments are required: --total"),
        (["plan", "--items", "R", "--total", "1"], "'R' cannot name an items run"),
        (["plan", "--items", "r", "--total", "1000001"], "is not an integer from 1 to 1000000"),
        (["work"], "the following arguments are required: --items"),
    ],
)
def test_wrong_arguments_are_a_permanent_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    from cpu.__main__ import main

    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_no_item_is_lost_or_doubled_while_pods_are_killed_and_run_twice_at_once(
    server: Server, client: redis.Redis
) -> None:
    ItemsCommands(client, "r", 600).plan(11, PODS * PER_POD, PER_POD)
    random_ = random.Random()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        life = min(threads.map(lambda _: seconds_of(lambda: result(server.url, 0, "work")), range(AT_ONCE)))
    delays = [[random_.uniform(0, life) for _ in range(KILLS)] for _ in range(2 * PODS)]

    def pod(number: int) -> None:
        """Be two pods with the same index: each is killed at random moments, and then runs to its end."""
        for delay in delays[number]:
            process = start(server.url, number // 2, "work")
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        result(server.url, number // 2, "work")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(pod, range(2 * PODS)))

    report = ItemsCommands(client, "r", 600).report()
    counts = [report[field] for field in ("total", "done", "lost", "doubled", "failed")]
    assert counts == [PODS * PER_POD, PODS * PER_POD, 0, 0, 0]
    expected = tally.count(items.solve(items.make(11, item)) for item in range(PODS * PER_POD))
    assert (report["committed"], report["cycles"]) == (PODS, expected["cycles"])
    assert (report["acc1_sum"], report["acc2_sum"]) == (str(expected["acc1"]), str(expected["acc2"]))
    assert report["repeated"] >= AT_ONCE - 1 + PODS


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began

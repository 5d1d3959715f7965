"""The CPU seconds of components: nothing that a tree of processes uses is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scripts.bench import cpu_time
from scripts.bench.cpu_time import CpuMeter, Times, all_times, by_component

ROOTS = {10: "supervisord", 20: "scheduler", 30: "postgres", 40: "kubernetes"}


def test_a_component_has_the_times_of_its_whole_tree() -> None:
    processes = {
        1: Times(0, 1000.0, 1000.0),
        10: Times(1, 1.0, 2.0),
        30: Times(10, 0.5, 4.0),
        31: Times(30, 8.0, 0.0),
        50: Times(1, 1000.0, 1000.0),
    }
    used = by_component(processes, ROOTS)
    assert (used["postgres"], used["supervisord"]) == (12.5, 3.0)
    assert sum(used.values()) == 15.5


def test_workers_are_the_processes_that_the_scheduler_has_forked() -> None:
    processes = {
        10: Times(1, 0.0, 0.0),
        20: Times(10, 1.0, 2.0),
        21: Times(20, 4.0, 8.0),
        22: Times(21, 16.0, 0.0),
    }
    used = by_component(processes, ROOTS)
    assert (used["scheduler"], used["worker"]) == (1.0, 30.0)


def test_a_scheduler_without_workers_has_none_of_their_time() -> None:
    used = by_component({20: Times(10, 1.0, 0.0)}, ROOTS)
    assert (used["scheduler"], used["worker"]) == (1.0, 0.0)


def test_pods_are_the_processes_that_the_endpoint_s_launchers_have_started() -> None:
    processes = {40: Times(10, 1.0, 2.0), 41: Times(40, 4.0, 8.0), 42: Times(41, 16.0, 32.0)}
    used = by_component(processes, ROOTS)
    assert (used["kubernetes"], used["pods"]) == (7.0, 56.0)


BURN = """
import os, sys, time

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

if os.fork() == 0:  # a child that ends, with a grandchild that ends
    if os.fork() == 0:
        burn(0.2)
        os._exit(0)
    os.wait()
    burn(0.2)
    os._exit(0)
os.wait()
if os.fork() == 0:  # a zombie
    burn(0.2)
    os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
if os.fork() == 0:  # a child that lives
    burn(0.2)
    print("burnt", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no times of ended children")
def test_processes_of_any_age_are_counted_living_or_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"burnt\n"
        used = by_component(all_times(), {process.pid: "scheduler"})
        process.communicate()
    # The kernel counts in hundredths of a second.
    assert used["worker"] >= 0.8 - 4 * 0.01


def test_a_component_that_was_restarted_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {os.getpid(): "scheduler"}
    monkeypatch.setattr(cpu_time, "roots", lambda _: dict(found))
    meter = CpuMeter(None)  # type: ignore[arg-type]
    assert meter.seconds().keys() == {"scheduler", "worker"}
    found[os.getppid()] = found.pop(os.getpid())
    with pytest.raises(SystemExit, match="restarted during the measurement: scheduler"):
        meter.seconds()

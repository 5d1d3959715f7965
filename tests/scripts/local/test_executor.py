"""The stack's executor survives a worker that is killed, and stops all of its workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.local.settings import REPOSITORY
from scripts.waiting import wait_until

START = """
import os, signal, time
from scripts.local.executor import SteadyLocalExecutor

executor = SteadyLocalExecutor()
executor.start()
print("workers", *executor.workers, flush=True)
executor.heartbeat()
"""
KILL = """
killed = next(iter(executor.workers))
os.kill(killed, signal.SIGKILL)
os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
"""
# The worker that was started first reads the first message. Its own turn to be told is the last one.
TELL_SLOWLY = """
executor.workers = dict(reversed(executor.workers.items()))
put = executor.activity_queue.put
executor.activity_queue.put = lambda message: (put(message), time.sleep(1))
"""
END = """
executor.end()
print("ended as usual")
"""


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("executor._process_workloads([])", id="as tasks are queued"),
        pytest.param("executor.heartbeat()", id="between two heartbeats"),
    ],
)
def test_the_scheduler_ends_with_all_its_workers_when_one_is_killed(tmp_path: Path, then: str) -> None:
    done = _run(START + KILL + then + END, tmp_path)
    assert done.returncode == 1
    assert "restarting the scheduler with new workers" in done.stdout + done.stderr
    assert "ended as usual" not in done.stdout


@pytest.mark.parametrize(
    "so",
    [
        pytest.param("", id="at once"),
        pytest.param(TELL_SLOWLY, id="even if one stops before the last is told"),
    ],
)
def test_the_scheduler_stops_with_all_its_workers(tmp_path: Path, so: str) -> None:
    done = _run(START + so + END, tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ended as usual")


def _run(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the program, and return it when none of its three workers is left."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__MP_START_METHOD": "fork",
            "AIRFLOW__LOCAL_STACK__WORKERS": "3",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    [started] = [line for line in done.stdout.splitlines() if line.startswith("workers ")]
    workers = [int(pid) for pid in started.split()[1:]]
    assert len(workers) == 3
    assert wait_until(lambda: not any(map(psutil.pid_exists, workers)), seconds=10)
    return done

"""The stack's executor survives a worker that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.local.settings import REPOSITORY
from scripts.waiting import wait_until

PROGRAM = """
import os, signal, sys
from scripts.local.executor import SteadyLocalExecutor

executor = SteadyLocalExecutor()
executor.start()
print("workers", *executor.workers, flush=True)
executor.heartbeat()
if sys.argv[1] != "nobody":
    killed = next(iter(executor.workers))
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    if sys.argv[1] == "as tasks are queued":
        executor._process_workloads([])
    executor.heartbeat()
executor.end()
print("ended as usual")
"""


@pytest.mark.parametrize("killed", ["as tasks are queued", "between two heartbeats", "nobody"])
def test_the_scheduler_ends_with_all_its_workers_when_one_is_killed(tmp_path: Path, killed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, killed],
        cwd=REPOSITORY,
        env={
            "AIRFLOW_HOME": str(tmp_path),
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
    if killed == "nobody":
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ended as usual")
    else:
        assert done.returncode == 1
        assert "restarting the scheduler with new workers" in done.stdout + done.stderr
        assert "ended as usual" not in done.stdout

"""The executor of the stack on one machine: a worker that is killed takes nothing with it."""

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

executor = SteadyLocalExecutor(parallelism=3)
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
print("went on")
"""


@pytest.mark.parametrize("killed", ["as tasks are queued", "between two looks", "nobody"])
def test_it_begins_anew_with_all_workers_when_one_is_gone(tmp_path: Path, killed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, killed],
        cwd=REPOSITORY,
        env={"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__MP_START_METHOD": "fork"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    [told] = [line for line in done.stdout.splitlines() if line.startswith("workers ")]
    workers = [int(pid) for pid in told.split()[1:]]
    assert len(workers) == 3
    assert wait_until(lambda: not any(map(psutil.pid_exists, workers)), seconds=10)
    if killed == "nobody":
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "went on")
    else:
        assert done.returncode == 1
        assert "beginning anew" in done.stdout + done.stderr
        assert "went on" not in done.stdout

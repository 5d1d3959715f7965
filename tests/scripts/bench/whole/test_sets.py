"""The benchmark of many pods, with a few pods in each design."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from scripts.local.settings import REPOSITORY


def test_each_design_is_measured(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    designs = ["bare", "ours", "stock", "stock-deferrable"]
    options = ["--pods=6", "--stock-pods=2", "--in-flight=3", f"--json={tmp_path / 'sets.json'}"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.sets", *options, "--designs", *designs],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "sets.json").read_text())
    found = report["summary"]["local"]
    assert list(found) == designs
    assert [one["pods"] for one in found.values()] == [6, 6, 2, 2]
    assert [one["task_instances"] for one in found.values()] == [None, 1, 3, 3]
    assert all(one["cpu_seconds_per_pod"] > 0 for one in found.values())
    assert all(one["pods_per_second"] > 0 for one in found.values())
    assert found["bare"]["share_of_bare"] == 1
    assert found["stock"]["memory_above_idle_bytes"] > 0
    assert not list(temporary.iterdir())

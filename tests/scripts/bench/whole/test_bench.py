"""The benchmark of cycles, with a few cycles of one CPU in each design."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from scripts.local.settings import REPOSITORY


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes whose command line names a file in a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or [])
    ]


def test_each_design_is_measured_and_the_stack_is_removed(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    designs = ["bare", "ours", "article", "stock", "stock-deferrable"]
    options = ["--cpus=1", "--cycles=2", f"--json={tmp_path / 'cycles.json'}", "--designs", *designs]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.cycles", *options],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "times the seconds of the bare client" in done.stdout
    report = json.loads((tmp_path / "cycles.json").read_text())
    _, ours, article, stock, deferrable = turns = report["turns"]
    assert [turn["design"] for turn in turns] == designs
    for turn in turns:
        assert len(turn["seconds"]) >= 2
        assert min(turn["seconds"]) > 0
    for turn in (ours, article, stock):
        assert set(turn["phases"]) == {"scheduler", "worker", "pod", "next run"}
        assert all(seconds > 0 for seconds in turn["phases"].values())
    assert set(deferrable["phases"]) == {"scheduler", "triggerer", "worker", "pod"}
    assert {"postgres", "redis", "kubernetes", "pods"} < ours["cpu"].keys()
    assert all(min(turn["cpu"]["pods"], turn["cpu"]["kubernetes"]) > 0 for turn in turns)
    assert min(ours["cpu"]["scheduler"], ours["cpu"]["postgres"], article["cpu"]["worker"]) > 0
    figures = report["summary"]["local"]
    assert all(found.keys() == {"1"} for found in figures.values())
    assert list(figures) == designs
    assert all(value > 0 for found in figures.values() for value in found["1"].values())
    assert not processes_in(temporary)
    assert not list(temporary.iterdir())

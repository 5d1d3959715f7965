"""The benchmark of cycles, with a few cycles of one CPU in each design."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from scripts.local.settings import REPOSITORY


def benchmarks() -> set[psutil.Process]:
    """Return the processes of benchmarks' stacks."""
    return {
        process
        for process in psutil.process_iter(["cmdline"])
        if any("cpu-bench-" in word for word in process.info["cmdline"] or [])
    }


def test_each_design_is_measured_and_the_stack_is_removed(tmp_path: Path) -> None:
    before = benchmarks()
    options = ["--cpus=1", "--cycles=2", f"--json={tmp_path / 'cycles.json'}"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.cycles", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "times the bare client's seconds" in done.stdout
    report = json.loads((tmp_path / "cycles.json").read_text())
    bare, ours, article = report["turns"]
    assert [one["design"] for one in (bare, ours, article)] == ["bare", "ours", "article"]
    for turn in (bare, ours, article):
        assert len(turn["seconds"]) >= 2
        assert min(turn["seconds"]) > 0
    assert set(ours["phases"]) == set(article["phases"]) == {"scheduler", "worker", "pod", "next run"}
    assert all(seconds > 0 for turn in (ours, article) for seconds in turn["phases"].values())
    assert {"postgres", "redis", "kubernetes", "pods"} < ours["cpu"].keys()
    assert all(min(turn["cpu"]["pods"], turn["cpu"]["kubernetes"]) > 0 for turn in (bare, ours, article))
    assert min(ours["cpu"]["scheduler"], ours["cpu"]["postgres"], article["cpu"]["worker"]) > 0
    figures = report["summary"]["local"]
    assert all(found.keys() == {"1"} for found in figures.values())
    assert list(figures) == ["bare", "ours", "article"]
    assert all(value > 0 for found in figures.values() for value in found["1"].values())
    assert benchmarks() <= before

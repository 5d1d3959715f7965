"""``items``: its progress line, its report and its exit code."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from scripts.local.items import LIMITS, Report
from scripts.local.settings import REPOSITORY

FIELDS = {
    "total": 3000,
    "done": 3000,
    "lost": 0,
    "doubled": 0,
    "failed": 0,
    "pods": 30,
    "seconds": 12.34,
    "items_per_second": 243.1,
    "pods_per_second": 2.431,
}


def test_the_report_s_first_line_counts_and_its_second_has_the_rates() -> None:
    assert Report(FIELDS).lines() == [
        "3000 items: 3000 done, 0 lost, 0 doubled, 0 failed",
        "12.3 s: 243.1 items/s, 2.43 pods/s, 30 pods",
    ]


@pytest.mark.parametrize(
    ("changes", "is_complete"),
    [({}, True), ({"done": 2999, "lost": 1}, False), ({"doubled": 1}, False), ({"failed": 1}, False)],
)
def test_a_run_is_complete_only_if_every_item_is_done_once(
    changes: dict[str, Any], is_complete: bool
) -> None:
    assert Report({**FIELDS, **changes}).is_complete is is_complete


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["0"], "N is 0: choose a number from 1 to 1000000"),
        (["1000001"], "N is 1000001: choose a number from 1 to 1000000"),
        (["--per-pod", "0"], "--per-pod is 0: choose a number from 1 to 10000"),
        (["--pods-in-flight", "1001"], "--pods-in-flight is 1001: choose a number from 1 to 1000"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_started(
    arguments: list[str], error: str
) -> None:
    command = [sys.executable, "-m", "scripts.local", "items", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {error}\n")


def test_the_limits_are_those_of_the_form() -> None:
    from dags.items import dag

    for name, (least, most) in LIMITS.items():
        schema = dag.params.get_param(name).schema
        assert (schema["minimum"], schema["maximum"]) == (least, most)

"""A pod's result in a few words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dags.describe import happened

CYCLE = {
    "status": "ok", "start": "s", "cpu": 8, "first": 2, "cycle": 2, "instruction": "acc +1", "line": 2,
    "pc": "2", "acc": "5", "swap": {"line": 8, "before": "jmp -4", "after": "nop -4"},
}  # fmt: skip
LOADED = {"status": "ok", "start": "s", "cpu": 8, "cycle": 0, "pc": "0", "acc": "0", "swap": CYCLE["swap"]}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (CYCLE, "acc +1 → acc 5, pc 2"),
        (CYCLE | {"instruction": "jmp -3", "status": "loop", "pc": "1"}, "jmp -3 → loop: acc 5, pc 1"),
        (
            CYCLE | {"instruction": "acc +6", "status": "end", "acc": "8", "pc": "9"},
            "acc +6 → end: acc 8, pc 9",
        ),
        (CYCLE | {"instruction": "jmp -9", "status": "fault", "pc": "-7"}, "jmp -9 → fault: acc 5, pc -7"),
        (CYCLE | {"first": 1, "cycle": 100}, "cycles 1–100: acc +1 → acc 5, pc 2"),
        (CYCLE | {"status": "stopped", "instruction": None}, "told to stop: acc 5, pc 2"),
        (CYCLE | {"acc": 5, "pc": 2}, "acc +1 → acc 5, pc 2"),
        (CYCLE | {"status": "stopped", "acc": 5, "pc": 2}, "told to stop: acc 5, pc 2"),
        (LOADED, "loaded: line 8, jmp -4 → nop -4"),
        (LOADED | {"cpu": 0, "swap": None}, "loaded: the program as written"),
        (LOADED | {"status": "invalid", "swap": None}, "nothing to swap"),
        ({"status": "stored", "instructions": 9, "candidates": "0x12a"}, "stored 9 instructions"),
        ({"status": "stored", "instructions": 1, "candidates": "0x0"}, "stored 1 instruction"),
        ({"status": "cancelled", "start": "s"}, "cancelled: the CPUs stop at their next cycle"),
        ({"status": "running", "due": [[0, 1, 2]], "answers": []}, "running: 1 due, 0 with an answer"),
        ({"status": "over", "due": [], "answers": [[0, 3]]}, "over: 0 due, 1 with an answer"),
        ({"status": "ok", "cycle": 1}, ""),
        ({"status": "asleep"}, ""),
        ({}, ""),
        (None, ""),
        ("stored", ""),
        ([CYCLE], ""),
    ],
)
def test_a_result_is_told_in_a_few_words(result: Any, words: str) -> None:
    assert happened(result) == words


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one))


@given(st.dictionaries(st.sampled_from([*CYCLE, "due", "answers", "instructions"]), anything))
def test_whatever_a_result_holds_it_is_told_or_not_told_of(changes: dict[str, Any]) -> None:
    for result in (changes, CYCLE | changes, LOADED | changes):
        assert isinstance(happened(result), str)


def test_a_task_s_process_imports_nothing_for_it() -> None:
    code = "import sys, dags.describe; sys.exit('airflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)

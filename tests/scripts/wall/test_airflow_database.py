"""Pods' results in Airflow's database, any of which may be malformed."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.wall.airflow_database import pod_result, registers_by_cycle


@pytest.mark.parametrize(
    "value",
    [
        None,
        "[1]",
        '"text"',
        "not JSON",
        '{"__classname__": "no.such.Class", "__version__": 1, "__data__": {}}',
        '{"__type": "dict", "__var": 5}',
    ],
)
def test_an_xcom_that_is_not_the_result_of_a_pod_counts_as_empty(value: Any) -> None:
    assert pod_result(value) == {}


def test_registers_are_ordered_by_cycle_and_malformed_results_left_out() -> None:
    valid: list[dict[str, Any]] = [
        {"cycle": 2, "pc": "1", "acc": str(2**65)},
        {"cycle": 1, "pc": 7, "acc": -3},
    ]
    malformed: list[dict[str, Any]] = [{}, {"cycle": "1", "pc": "1", "acc": "1"}, {"cycle": 3, "pc": []}]
    found = registers_by_cycle([*valid, *malformed])
    assert [(one.cycle, one.pc, one.acc) for one in found] == [(1, "7", "-3"), (2, "1", str(2**65))]

"""What Airflow's database holds of pods' results: any of them may be none of ours."""

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
def test_an_xcom_that_is_no_result_of_a_pod_is_passed_over(value: Any) -> None:
    assert pod_result(value) == {}


def test_registers_are_in_the_order_of_the_cycles_and_other_results_are_passed_over() -> None:
    ours: list[dict[str, Any]] = [
        {"cycle": 2, "pc": "1", "acc": str(2**65)},
        {"cycle": 1, "pc": 7, "acc": -3},
    ]
    others: list[dict[str, Any]] = [{}, {"cycle": "1", "pc": "1", "acc": "1"}, {"cycle": 3, "pc": []}]
    found = registers_by_cycle([*ours, *others])
    assert [(one.cycle, one.pc, one.acc) for one in found] == [(1, "7", "-3"), (2, "1", str(2**65))]

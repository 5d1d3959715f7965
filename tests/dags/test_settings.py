"""Settings of the DAGs: values out of range are refused by the variable's name."""

from __future__ import annotations

import pytest

from dags import settings


@pytest.mark.parametrize("value", ["3", "401", "many", "1e2", "-5", ""])
def test_cpus_at_once_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPUS_AT_ONCE"):
        settings.cpus_at_once(value)


@pytest.mark.parametrize(
    ("value", "at_once", "deferred"),
    [("", 16, False), ("", 17, True), ("true", 4, True), ("False", 400, False)],
)
def test_triggerer_waits_for_pods_of_many_cpus_unless_set_otherwise(
    value: str, at_once: int, deferred: bool
) -> None:
    assert settings.deferred(value, at_once) is deferred


@pytest.mark.parametrize("value", ["9", "86401", "often", "-60", ""])
def test_cpu_watch_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPU_WATCH"):
        settings.watch_seconds(value)

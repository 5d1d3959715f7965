"""Settings of the DAGs: values out of range are refused by the variable's name."""

from __future__ import annotations

import pytest

from dags import settings


@pytest.mark.parametrize("value", ["3", "401", "many", "1e2", "-5", ""])
def test_cpus_at_once_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPUS_AT_ONCE"):
        settings.cpus_at_once(value)


@pytest.mark.parametrize("value", ["9", "86401", "often", "-60", ""])
def test_cpu_watch_out_of_range_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="CPU_WATCH"):
        settings.watch_seconds(value)

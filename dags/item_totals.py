"""What a shard of an items run sums up of its pods' results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_pods import NextStep

FIELDS = ("done", "failed", "cycles")


def add_up(total: Mapping[str, int] | None, result: Mapping[str, Any]) -> dict[str, int]:
    """Return the total with a pod's result added."""
    return {field: (total or {}).get(field, 0) + int(result[field]) for field in FIELDS}


def complete_or_fail(result: Mapping[str, Any]) -> str:
    """Return the task that follows the report. If items are missing, raise LookupError, which fails it."""
    if result["status"] != "complete":
        raise LookupError("not every item is done once")
    return "complete"


def next_step(result: Mapping[str, Any], _: Mapping[str, Any]) -> NextStep | None:
    """Return as plain data what `complete_or_fail` does; None where a worker has to fail the task."""
    return NextStep("complete") if result["status"] == "complete" else None

"""The name of an items run, and how its pods are shared out among its tasks: for DAG `items` and the wall."""

from __future__ import annotations

from datetime import UTC, datetime

SHARDS = 8
"""How many tasks the pods are divided among, so that several schedulers can work on one run."""
NAME_FORMAT = "%Y%m%d-%H%M%S-%f"
"""The name of an items run: when its DAG run was to begin."""


def items_run(run_after: datetime) -> str:
    """Return the name of the items run of a run of DAG `items`."""
    return f"{run_after.astimezone(UTC):{NAME_FORMAT}}"


def run_after_of(name: str) -> datetime | None:
    """Return when the DAG run of an items run was to begin; None if no DAG run gives that name."""
    try:
        when = datetime.strptime(name, NAME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return when if items_run(when) == name else None


def shard_task(number: int) -> str:
    """Return the id of the task that runs a shard."""
    return f"shard-{number}"


def first_pod(pods: int, number: int) -> int:
    """Return the number of the first pod of a shard, where the run has so many pods."""
    return pods * number // SHARDS

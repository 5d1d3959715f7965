"""An items run as the wall shows it, from what Redis has counted and from what its tasks in Airflow say.

| figure | where it comes from |
|---|---|
| items and pods done, items failed, rates, time left | Redis: counters, a bit per pod, up to 201 marks |
| pods running, pods failed and their numbers | XCom `progress` of each shard, or its XCom when it has ended |
| the report | XCom of task `report` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_pods.progress import PROGRESS_KEY
from dags.item_shards import SHARDS, first_pod, shard_task
from scripts.wall.models import ItemsPods, ItemsProgress, ItemsReport, ItemsWall

if TYPE_CHECKING:
    from scripts.items_snapshot import ItemsSnapshot

MOST_NAMED = 50
"""How many failed pods, or ranges of them, the page names."""
ENDED = ("success", "failed")
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_MORE = re.compile(r" and (\d{1,6}) more$")


@dataclass(frozen=True)
class ItemsDagRun:
    """The run of DAG `items` that belongs to an items run.

    `states`: of its tasks; `xcoms`: of task and key, those of `plan`, of the shards and of `report`.
    """

    run_id: str
    state: str
    states: Mapping[str, str | None] = field(default_factory=dict)
    xcoms: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def result(self, task: str) -> Mapping[str, Any] | None:
        """Return the result of a task, or None if it has none."""
        return self.xcoms.get((task, "return_value"))


def items_wall(
    name: str, dag_run: ItemsDagRun | None, snapshot: ItemsSnapshot | None, lost: str = ""
) -> ItemsWall:
    """Return an items run. Without a snapshot, Redis has nothing of it, or has lost what `lost` says."""
    return ItemsWall(
        items=name,
        run_id=dag_run.run_id if dag_run else None,
        state=dag_run.state if dag_run else None,
        note="" if snapshot else lost or _note(name, dag_run),
        progress=_progress(snapshot) if snapshot else None,
        pods=_pods(dag_run) if dag_run else None,
        report=_report(dag_run) if dag_run else None,
    )


def since_mark(wall: ItemsWall, first: int) -> ItemsWall:
    """Return the items run without the marks that a page has already: those before that number."""
    if wall.progress is None:
        return wall
    rest = {"first_mark": first, "marks": wall.progress.marks[first:]}
    return wall.model_copy(update={"progress": wall.progress.model_copy(update=rest)})


def _note(name: str, dag_run: ItemsDagRun | None) -> str:
    """Return why Redis has nothing of an items run."""
    if dag_run is None or dag_run.result("plan"):
        return (
            f"Redis no longer has items run {name}: it has expired. What is shown is what Airflow has kept."
        )
    if dag_run.state in ENDED:
        return f"Items run {name} was never planned: its DAG run ended before. See task plan."
    return f"Items run {name} is not planned yet. Its progress appears here as soon as task plan has ended."


def _progress(snapshot: ItemsSnapshot) -> ItemsProgress:
    return ItemsProgress(
        planned=snapshot.planned,
        now=snapshot.now,
        ended=snapshot.ended,
        total=snapshot.total,
        done=snapshot.done,
        failed=snapshot.failed,
        pods=snapshot.facts.plan.pods,
        committed=snapshot.committed,
        items_rate=snapshot.items_per_second,
        pods_rate=snapshot.pods_per_second,
        items_rate_since_plan=snapshot.items_per_second_since_plan,
        pods_rate_since_plan=snapshot.pods_per_second_since_plan,
        seconds_left=snapshot.seconds_left,
        first_mark=0,
        marks=[(mark.pods, mark.items, mark.time) for mark in snapshot.progress],
    )


def _pods(dag_run: ItemsDagRun) -> ItemsPods | None:
    """Return what the shards say of their pods; None if none says anything."""
    plan = dag_run.result("plan") or {}
    found, running, left_out = False, 0, 0
    failed: list[tuple[int, int]] = []
    for number in range(SHARDS):
        task = shard_task(number)
        summary, progress = dag_run.result(task), dag_run.xcoms.get((task, PROGRESS_KEY))
        said = summary or progress
        if said is None:
            continue
        found = True
        if progress and not summary and dag_run.states.get(task) == "running":
            running += _number(progress.get("running"))
        ranges, more = parse_indices(str(said.get("failed" if summary else "failed_indices", "")))
        offset = first_pod(_number(plan.get("pods")), number)
        failed += [(offset + first, offset + last) for first, last in ranges]
        left_out += more
    if not found:
        return None
    more = left_out + _count(failed[MOST_NAMED:])
    return ItemsPods(
        running=running,
        failed=_count(failed[:MOST_NAMED]) + more,
        failed_pods=[
            str(first) if first == last else f"{first}-{last}" for first, last in failed[:MOST_NAMED]
        ],
        failed_more=more,
    )


def parse_indices(text: str) -> tuple[list[tuple[int, int]], int]:
    """Return the ranges in a list of indices such as `3,17-19 and 4 more`, and how many it does not name."""
    more = _MORE.search(text)
    named = text[: more.start()] if more else text
    found = (_RANGE.fullmatch(part) for part in named.split(","))
    ranges = [(int(one[1]), int(one[2] or one[1])) for one in found if one]
    return ranges, int(more[1]) if more else 0


def _report(dag_run: ItemsDagRun) -> ItemsReport | None:
    try:
        return ItemsReport.model_validate(dag_run.result("report"))
    except ValidationError:  # there is none, or people have changed it
        return None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _count(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)

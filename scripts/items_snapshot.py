"""The read-only view of an items run in Redis, for the wall and for progress lines.

It costs Redis four short commands, however many items there are. Reading refreshes no TTL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpu.items_records import FACT_FIELDS, ItemsFacts, Mark, decode_facts, decode_mark, missing_pods
from cpu.keys import ItemsKeys
from scripts.snapshot import NotKeptError, newest_facts, server_time

if TYPE_CHECKING:
    from cpu.redis_client import Client

RECENT_SECONDS = 60.0
"""The rates are those of the last minute."""


@dataclass(frozen=True)
class ItemsSnapshot:
    """An items run at one moment. Times are by Redis' clock, in seconds since 1970.

    `progress`: how many pods had committed and how many items they had, at up to 201 moments, oldest first.
    `pods`: the bitmap of the pods whose shares are counted; it may be newer than `facts`.
    """

    run: str
    facts: ItemsFacts
    now: float
    progress: list[Mark]
    pods: bytes

    @property
    def total(self) -> int:
        """How many items the run has."""
        return self.facts.plan.total

    @property
    def done(self) -> int:
        """How many items are solved."""
        return self.facts.tally["done"]

    @property
    def failed(self) -> int:
        """How many items a pod could not solve."""
        return self.facts.tally["failed"]

    @property
    def committed(self) -> int:
        """How many pods have committed their share, of `facts.plan.pods`."""
        return self.facts.committed

    @property
    def planned(self) -> float:
        """When the run was planned."""
        return self.facts.planned

    @property
    def started(self) -> float | None:
        """When the first pod committed; None if none has."""
        return self.progress[0].time if self.progress else None

    @property
    def ended(self) -> float | None:
        """When the last pod committed; None while any has not."""
        return self.facts.last if self.committed == self.facts.plan.pods else None

    @property
    def seconds(self) -> float:
        """Seconds from the plan to the end, or to now."""
        return (self.ended or self.now) - self.planned

    @property
    def pods_per_second(self) -> float:
        """How many pods commit per second: in the last minute, or of the whole run if it has ended."""
        begin, seconds = self._recent()
        return (self.committed - begin.pods) / seconds

    @property
    def items_per_second(self) -> float:
        """How many items are solved or fail per second; as `pods_per_second`."""
        begin, seconds = self._recent()
        return (self.done + self.failed - begin.items) / seconds

    @property
    def pods_per_second_since_plan(self) -> float:
        """How many pods have committed per second since the plan."""
        return self.committed / max(self.seconds, 1e-6)

    @property
    def items_per_second_since_plan(self) -> float:
        """How many items were solved or failed per second since the plan."""
        return (self.done + self.failed) / max(self.seconds, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last pod commits, if all goes on as in the last minute; None if none did then."""
        left = self.facts.plan.pods - self.committed
        if not left:
            return 0.0
        return left / self.pods_per_second if self.pods_per_second else None

    def missing(self, limit: int) -> list[int]:
        """Return the numbers of the first pods whose shares are not counted, at most `limit`."""
        return missing_pods(self.pods, self.facts.plan.pods)[:limit]

    def _recent(self) -> tuple[Mark, float]:
        """Return the mark from which the rates count, and the seconds since then, more than zero."""
        begin = Mark(0, 0, self.planned)
        end = self.ended or self.now
        if self.ended is None:
            # The progress was read after the facts: its newest marks may be those of later commits.
            known = [mark for mark in self.progress if mark.pods <= self.committed]
            begin = next((mark for mark in reversed(known) if mark.time <= end - RECENT_SECONDS), begin)
        return begin, max(end - begin.time, 1e-6)


def newest_items_run(client: Client) -> str | None:
    """Return the items run that was planned last, or None if Redis has none."""
    key = newest_facts(client, ItemsKeys("*").facts, "planned")
    return ItemsKeys.run_of(key) if key else None


def take_items_snapshot(client: Client, run: str) -> ItemsSnapshot:
    """Return an items run.

    Raises NotKeptError if Redis does not have it, LostError if Redis has lost a part of it.
    """
    keys = ItemsKeys(run)
    now = server_time(client, keys.facts)
    pipeline = client.pipeline(transaction=False)
    pipeline.hmget(keys.facts, *FACT_FIELDS)  # first, as the bits and the progress only grow
    pipeline.get(keys.pods)
    pipeline.lrange(keys.progress, 0, -1)
    values, bitmap, entries = pipeline.execute()
    if not any((*values, bitmap, entries)):
        raise NotKeptError(f"items run {run} is not kept: it was never planned, or it has expired")
    pods = bitmap or b""
    facts = decode_facts(run, values, int.from_bytes(pods).bit_count(), len(entries))
    return ItemsSnapshot(run, facts, now, [decode_mark(entry) for entry in entries], pods)

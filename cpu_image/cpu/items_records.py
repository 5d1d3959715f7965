"""What Redis keeps of an items run (see `cpu.keys.ItemsKeys`), decoded: for its commands and for the wall."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from cpu.errors import LostError
from cpu.tally import COUNTERS


class Plan(NamedTuple):
    """The plan of an items run; `planned` is the time of it as Redis keeps it, which no other plan has."""

    seed: int
    total: int
    per_pod: int
    pods: int
    planned: str

    def share(self, pod: int) -> range:
        """Return the numbers of the items that a pod solves."""
        return range(pod * self.per_pod, min((pod + 1) * self.per_pod, self.total))


PLAN_FIELDS = Plan._fields
"""What `decode_plan` takes: the fields to read with HMGET."""
FACT_FIELDS = (*PLAN_FIELDS, "last", "committed", "repeated", "marks", *COUNTERS)
"""What `decode_facts` takes."""


class ItemsFacts(NamedTuple):
    """The plan of an items run and what it has come to; times in seconds since 1970."""

    plan: Plan
    planned: float
    last: float | None
    committed: int
    repeated: int
    marks: int
    tally: Counter[str]


class Mark(NamedTuple):
    """An entry of a run's progress: how many pods had committed, how many items they had, and when."""

    pods: int
    items: int
    time: float


def decode_plan(run: str, values: Sequence[bytes | None]) -> Plan:
    """Decode the values of PLAN_FIELDS. Raises LostError if one is missing."""
    found = [value.decode() for value in values if value is not None]
    if len(found) < len(PLAN_FIELDS):
        raise lost("the plan", run)
    seed, total, per_pod, pods, planned = found
    return Plan(int(seed), int(total), int(per_pod), int(pods), planned)


def decode_facts(run: str, values: Sequence[bytes | None], pods: int, marks: int) -> ItemsFacts:
    """Decode the values of FACT_FIELDS. The numbers of pods' bits and of marks were read with them or later.

    Raises LostError if these are fewer than the facts say.
    """
    plan = decode_plan(run, values[: len(PLAN_FIELDS)])
    found = {name: value for name, value in zip(FACT_FIELDS, values, strict=True) if value is not None}
    last = found.get("last")
    facts = ItemsFacts(
        plan=plan,
        planned=float(plan.planned),
        last=float(last) if last else None,
        committed=int(found.get("committed", 0)),
        repeated=int(found.get("repeated", 0)),
        marks=int(found.get("marks", 0)),
        tally=Counter({name: int(found[name]) for name in COUNTERS if name in found}),
    )
    if pods < facts.committed:
        raise lost("the pods", run)
    if marks < facts.marks:
        raise lost("the progress", run)
    return facts


def lost(what: str, run: str) -> LostError:
    """Return the error for a part of an items run that Redis has lost."""
    return LostError(f"{what} of items run {run}", remedy="start another items run")


def decode_mark(entry: bytes) -> Mark:
    """Decode an entry of the progress, "pods:items:time"."""
    pods, items, time = entry.decode().split(":")
    return Mark(int(pods), int(items), float(time))


def missing_pods(bitmap: bytes | None, pods: int) -> list[int]:
    """Return the numbers of the pods whose bit is not set."""
    bits = bitmap or b""
    return [pod for pod in range(pods) if pod >> 3 >= len(bits) or not bits[pod >> 3] & (0x80 >> (pod & 7))]

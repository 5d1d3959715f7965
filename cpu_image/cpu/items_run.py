"""An items run in Redis: its plan, stored once, and its tally, in which each item counts once."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from cpu.errors import PreconditionError
from cpu.items_records import (
    FACT_FIELDS,
    PLAN_FIELDS,
    ItemsFacts,
    Mark,
    Plan,
    decode_facts,
    decode_mark,
    decode_plan,
    lost,
    missing_pods,
)
from cpu.items_scripts import COMMIT, PLAN
from cpu.keys import ItemsKeys
from cpu.redis_client import Client


class Account(NamedTuple):
    """An items run at one moment, and the evidence: the bits, and the pods whose shares are not counted."""

    facts: ItemsFacts
    bits: int
    missing: list[int]
    first: Mark | None


class ItemsRun:
    """One items run, whose unused keys expire after `ttl` seconds.

    Each method raises PreconditionError if the run is not planned or has expired, and LostError if Redis has
    lost a part of it.
    """

    def __init__(self, client: Client, run: str, ttl: int) -> None:
        self._client = client
        self._keys = ItemsKeys(run)
        self._ttl = ttl

    def store(self, seed: int, total: int, per_pod: int) -> int:
        """Store the plan, and return the number of pods; storing the same again changes nothing.

        Raises PreconditionError if another plan is stored.
        """
        pods = -(-total // per_pod)
        store = self._client.register_script(PLAN)
        stored = store(keys=self._keys.all, args=[self._ttl, seed, total, per_pod, pods])
        if stored is None:
            raise lost("a part", self._keys.run)
        if not stored:
            raise PreconditionError(
                f"items run {self._keys.run} has another plan: choose another name for this one"
            )
        return pods

    def plan(self) -> Plan:
        """Return the plan."""
        values: Any = self._client.hmget(self._keys.facts, *PLAN_FIELDS)
        if not any(values):
            raise self._not_planned()
        return decode_plan(self._keys.run, values)

    def commit(self, plan: Plan, pod: int, tally: Counter[str], done: Iterable[int]) -> bool:
        """Count the share of a pod of this plan. Returns False if it was counted before."""
        counters = [word for counter in tally.items() for word in counter]
        commit = self._client.register_script(COMMIT)
        args = [self._ttl, plan.planned, pod, len(tally), *counters, *done]
        counted = commit(keys=self._keys.all, args=args)
        if counted is None:
            if self.plan() != plan:
                raise PreconditionError(f"items run {self._keys.run} has expired and was planned again")
            raise lost("a part", self._keys.run)
        return bool(counted)

    def account(self) -> Account:
        """Return what has been counted. Read-only: never refreshes a TTL."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(self._keys.facts, *FACT_FIELDS)
        pipeline.get(self._keys.pods)
        pipeline.bitcount(self._keys.pods)
        pipeline.bitcount(self._keys.bits)
        pipeline.llen(self._keys.progress)
        pipeline.lrange(self._keys.progress, 0, 0)
        values, bitmap, pods, bits, marks, first = pipeline.execute()
        if not any((*values, bitmap, bits, marks)):
            raise self._not_planned()
        facts = decode_facts(self._keys.run, values, pods, marks)
        done = facts.tally["done"]
        if pods > facts.committed or bits > done or (done and not bits):
            raise lost("the tally or the bits", self._keys.run)
        missing = missing_pods(bitmap, facts.plan.pods)
        return Account(facts, bits, missing, decode_mark(first[0]) if first else None)

    def _not_planned(self) -> PreconditionError:
        return PreconditionError(f"items run {self._keys.run} is not planned, or has expired: plan it first")

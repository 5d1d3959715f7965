"""The tally of an items run: what its pods have counted, each item once."""

from collections import Counter
from collections.abc import Iterable

from cpu.items import Solution
from cpu.result import Status

ACC_BUCKETS = range(-300, 501, 50)
CYCLE_BUCKETS = range(0, 101, 10)
"""The lower bounds of the buckets. The first and the last also hold what is below and above all of them."""

_PART1 = [f"part1:{status}" for status in (Status.LOOP, Status.END, Status.FAULT)]
_PART2 = ["part2:one", "part2:several", "part2:none"]
_ACC = [f"acc:{bound}" for bound in ACC_BUCKETS]
_CYCLES = [f"cycles:{bound}" for bound in CYCLE_BUCKETS]
COUNTERS = ("done", "failed", "cycles", "acc1", "acc2", "microseconds", *_PART1, *_PART2, *_ACC, *_CYCLES)
"""The counters of a tally, as `cpu.keys.ItemsKeys` describes them."""


def count(solutions: Iterable[Solution | None]) -> Counter[str]:
    """Return the tally of these items; None is an item that failed."""
    tally: Counter[str] = Counter()
    for solution in solutions:
        if solution is None:
            tally["failed"] += 1
            continue
        part1, acc1, ending, acc2, cycles = solution
        tally["done"] += 1
        tally["cycles"] += cycles
        tally["acc1"] += acc1
        tally[f"part1:{part1}"] += 1
        tally[_PART2[0 if ending == 1 else 1 if ending else 2]] += 1
        tally[f"cycles:{_bucket(cycles, CYCLE_BUCKETS)}"] += 1
        if acc2 is not None:
            tally["acc2"] += acc2
            tally[f"acc:{_bucket(acc2, ACC_BUCKETS)}"] += 1
    return tally


def group(tally: Counter[str], name: str) -> dict[str, int]:
    """Return the counters "name:…" that are not zero, without that prefix, in the order of COUNTERS."""
    counters = (counter.partition(":") for counter in COUNTERS)
    return {of: tally[f"{name}:{of}"] for group, _, of in counters if group == name and tally[f"{name}:{of}"]}


def _bucket(value: int, buckets: range) -> int:
    lowest, highest = buckets[0], buckets[-1]
    return max(lowest, min(value - (value - lowest) % buckets.step, highest))

"""The commands of an items run: plan, work and report."""

import time
from dataclasses import dataclass

from cpu import items, preflight, tally
from cpu.errors import PreconditionError
from cpu.items_run import Account, ItemsRun
from cpu.redis_client import Client
from cpu.result import Result

MAX_NAMED = 50
"""How many items or pods a result names: it has less than 4,096 bytes."""
SPEED = ("seconds", "work_seconds", "solve_seconds", "items_per_second", "pods_per_second")
"""The fields of a report that say how fast the run was."""


@dataclass
class ItemsCommands:
    """The commands on one items run, whose unused keys expire after `ttl` seconds.

    Each returns a result (see cpu.result). Each may be repeated at any time, also after a crash at any point.
    """

    client: Client
    run: str
    ttl: int

    def plan(self, seed: int, total: int, per_pod: int) -> Result:
        """Store which items there are and how many a pod solves.

        Raises PreconditionError as `store` does (see cpu.commands).
        """
        warning = preflight.check(self.client)
        return {
            "status": "planned",
            "items": self.run,
            "seed": seed,
            "total": total,
            "per_pod": per_pod,
            "pods": self._run().store(seed, total, per_pod),
            **({"warning": warning} if warning else {}),
        }

    def work(self, pod: int) -> Result:
        """Solve a pod's share of the items, and count it in one step, once.

        Raises PreconditionError if the plan has no such pod.
        """
        run = self._run()
        plan = run.plan()
        if pod >= plan.pods:
            raise PreconditionError(
                f"items run {self.run} has no pod {pod}: its plan has pods 0 to {plan.pods - 1}"
            )
        began = time.process_time()
        share = plan.share(pod)
        solutions = [items.solve(items.make(plan.seed, item)) for item in share]
        counted = tally.count(solutions)
        failed = [item for item, solution in zip(share, solutions, strict=True) if solution is None]
        result = {
            "status": "solved",
            "items": self.run,
            "pod": pod,
            "first_item": share[0],
            "last_item": share[-1],
            "done": counted["done"],
            "failed": counted["failed"],
            "cycles": counted["cycles"],
            **({"failed_items": failed[:MAX_NAMED]} if failed else {}),
        }
        counted["microseconds"] = round((time.process_time() - began) * 1e6)
        run.commit(plan, pod, counted, sorted({*share} - {*failed}))
        return result

    def report(self) -> Result:
        """Return the tally, checked against the bits."""
        account = self._run().account()
        facts, counted = account.facts, account.facts.tally
        lost = facts.plan.total - account.bits - counted["failed"]
        doubled = counted["done"] - account.bits
        is_complete = not (lost or doubled or counted["failed"])
        return {
            "status": "complete" if is_complete else "incomplete",
            "items": self.run,
            **_plan_of(account),
            "done": account.bits,
            "lost": lost,
            "doubled": doubled,
            "failed": counted["failed"],
            "committed": facts.committed,
            "repeated": facts.repeated,
            "missing": account.missing[:MAX_NAMED],
            "cycles": counted["cycles"],
            "part1": tally.group(counted, "part1"),
            "part2": tally.group(counted, "part2"),
            "acc": tally.group(counted, "acc"),
            "acc1_sum": str(counted["acc1"]),
            "acc2_sum": str(counted["acc2"]),
            "cycles_of_items": tally.group(counted, "cycles"),
            **_speed_of(account),
        }

    def _run(self) -> ItemsRun:
        return ItemsRun(self.client, self.run, self.ttl)


def _plan_of(account: Account) -> Result:
    plan = account.facts.plan
    return {"seed": plan.seed, "total": plan.total, "per_pod": plan.per_pod, "pods": plan.pods}


def _speed_of(account: Account) -> Result:
    facts = account.facts
    if facts.last is None or account.first is None:
        return dict.fromkeys(SPEED, 0.0)
    seconds = max(facts.last - facts.planned, 1e-6)
    values = (
        round(seconds, 3),
        round(facts.last - account.first.time, 3),
        round(facts.tally["microseconds"] / 1e6, 3),
        round(account.bits / seconds, 1),
        round(facts.committed / seconds, 2),
    )
    return dict(zip(SPEED, values, strict=True))

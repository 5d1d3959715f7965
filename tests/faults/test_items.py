"""Whatever fails while the pods of DAG ``items`` run, each item counts exactly once."""

from __future__ import annotations

import random
from contextlib import suppress

from scripts.local.items import Report as ItemsReport
from scripts.waiting import wait_until
from tests.faults.faults import AIRFLOW, SERVERS, Chaos, injectable, injecting
from tests.faults.proxy import Proxy
from tests.faults.report import Report
from tests.faults.test_faults import AWAY, when_available
from tests.support.stack import Stack

FAULTS = [
    *(f"kill {name}" for name in (*AIRFLOW, *SERVERS)),
    *("kill the pods", "kill the pods as they commit", "delete a pod", "cut off Redis"),
    *("cut off Kubernetes", "Kubernetes: 500", "Kubernetes: 429", "watches: 410"),
]
SECONDS_APART = (4, 8)
SECONDS_PER_ITEM = 0.002
"""Five times as long as an item takes on two cores that nothing else uses."""
PATIENCE_SECONDS = 900


def test_each_item_counts_once_although_every_component_is_killed(
    stack: Stack, proxy: Proxy, seed: int, report: Report, items: int
) -> None:
    chaos = Chaos(stack, random.Random(f"{seed} items"), proxy)
    run = when_available(lambda: stack.api.trigger("items", {"total": items})["dag_run_id"])

    def has_ended() -> bool:
        with suppress(*AWAY):
            return stack.api.run("items", run)["state"] in ("success", "failed")
        return False

    names = injectable(stack, FAULTS)
    with injecting(chaos, names, SECONDS_APART) as injector:
        assert wait_until(has_ended, PATIENCE_SECONDS + items * SECONDS_PER_ITEM, 1)
        assert not injector.is_alive(), f"the run ended before all faults were injected: {chaos.done}"
    found = ItemsReport(when_available(lambda: stack.api.xcom("items", run, "report")))
    print(*found.lines(), sep="\n", flush=True)
    assert found.lines()[0] == f"{items} items: {items} done, 0 lost, 0 doubled, 0 failed"
    assert when_available(lambda: stack.api.run("items", run)["state"]) == "success"
    report.faults += chaos.done

"""``items``: solve many random programs on the stack, and watch them until each is done once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console

from cpu.errors import PermanentError, TemporaryError
from cpu.redis_client import with_retries
from dags.item_shards import items_run
from scripts.airflow_api import AirflowError, Api
from scripts.items_snapshot import ItemsSnapshot, take_items_snapshot
from scripts.local.demo import wall_url
from scripts.local.demo_run import DemoError, raise_failed
from scripts.local.services.airflow import ADMIN
from scripts.local.services.redis import url_for_pods
from scripts.local.stack import Stack
from scripts.progress import Progress, is_live
from scripts.snapshot import NotKeptError

LIMITS = {"total": (1, 1_000_000), "per_pod": (1, 10_000), "pods_in_flight": (1, 1000)}
"""The least and the most of what the form of DAG ``items`` takes."""
POLL_SECONDS = 1.0
LINE_SECONDS = 10.0
"""The time between two lines if there is no terminal."""
OVER = ("success", "failed")


@dataclass(frozen=True)
class Report:
    """What an items run has come to."""

    fields: dict[str, Any]
    """The result of the image's command ``report``."""

    @property
    def is_complete(self) -> bool:
        """Return whether every item is done, and none is lost, doubled or failed."""
        found = self.fields
        return bool(
            found["done"] == found["total"] and not found["lost"] + found["doubled"] + found["failed"]
        )

    def lines(self) -> list[str]:
        """Return what people read: the count, then the rates."""
        count = "{total} items: {done} done, {lost} lost, {doubled} doubled, {failed} failed"
        rates = "{seconds:.1f} s: {items_per_second:.1f} items/s, {pods_per_second:.2f} pods/s, {pods} pods"
        return [count.format_map(self.fields), rates.format_map(self.fields)]


def solve(stack: Stack, conf: dict[str, int]) -> Report | None:
    """Run DAG ``items`` on a stack that is up; return its report, or print why there is none."""
    settings = stack.settings
    redis_url = url_for_pods(settings, stack.passwords)
    with Api(settings.api_url, ADMIN, stack.passwords.admin) as api:
        run = api.trigger("items", conf)
        print(f"Watch it: {wall_url(settings.ui_url, run['dag_run_id'])}", file=sys.stderr)
        try:
            watch(api, run["dag_run_id"], lambda: _read_redis(name_of(run), redis_url))
            return Report(api.xcom("items", run["dag_run_id"], "report"))
        except DemoError as error:
            print(f"error: {error}", file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print("The run continues without being watched; make down stops it.", file=sys.stderr)
            raise


def watch(api: Api, run: str, read: Callable[[], ItemsSnapshot | None]) -> None:
    """Show the progress of a run of DAG ``items`` until it has ended. Raises DemoError if it has failed.

    Waits as long as Airflow or Redis is away.
    """
    every = POLL_SECONDS if is_live(Console(stderr=True)) else LINE_SECONDS
    shown_at = time.monotonic() - LINE_SECONDS
    with Progress() as progress:
        while True:
            text = ""
            try:
                if (state := api.run("items", run)["state"]) in OVER:
                    break
                text = describe(read())
            except httpx.TransportError:
                text = "Airflow's API is away: waiting for it"
            except (AirflowError, TemporaryError) as error:
                text = f"waiting: {error}"
            if time.monotonic() >= shown_at + every:
                shown_at = time.monotonic()
                progress.show(text)
            time.sleep(POLL_SECONDS)
    if state == "failed":
        raise_failed(api, "items", run)


def describe(view: ItemsSnapshot | None) -> str:
    """Return a progress line; None: the run is not planned yet."""
    if view is None:
        return "planning the items"
    failed = f", {view.failed} failed" if view.failed else ""
    left = view.seconds_left
    return (
        f"{view.done} of {view.total} items done{failed}, {view.committed} of {view.facts.plan.pods} pods, "
        f"{view.items_per_second:.0f} items/s, {view.pods_per_second:.1f} pods/s"
        + (f", {left:.0f} s left" if left else "")
    )


def name_of(run: dict[str, Any]) -> str:
    """Return the name of the items run of a run of DAG ``items``, as Airflow's API describes that."""
    return items_run(datetime.fromisoformat(run["run_after"]))


def _read_redis(run: str, url: str) -> ItemsSnapshot | None:
    try:
        return with_retries(url, lambda client: take_items_snapshot(client, run), retry_seconds=0)
    except NotKeptError:
        return None
    except PermanentError as error:
        raise DemoError(str(error)) from error

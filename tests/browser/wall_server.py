"""The wall by itself: its page and API on a real Redis, without an Airflow, so that tests set the clock."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from scripts.local.ports import free_ports
from scripts.waiting import wait_until
from scripts.wall.items import ItemsDagRun
from scripts.wall.models import ItemsRunItem, StartRunItem
from tests.support import redis_server

with warnings.catch_warnings(action="ignore"):  # Airflow imports what Starlette deprecates
    from airflow.api_fastapi.core_api import security

    from scripts.wall import airflow_database, shooting
    from scripts.wall import app as walls


@dataclass
class Answers:
    """What Airflow's database would answer."""

    starts: list[str] = field(default_factory=list)
    items: dict[str, ItemsDagRun] = field(default_factory=dict)


@dataclass(frozen=True)
class WallServer:
    """The address of the wall, and what it is told about Airflow's database."""

    url: str
    answers: Answers


@contextmanager
def wall_server(redis: redis_server.Server) -> Iterator[WallServer]:
    """Run the wall in the block."""
    answers = Answers()
    [port] = free_ports(1)
    airflow = FastAPI()
    airflow.mount("/cpu-wall", walls.app)
    server = uvicorn.Server(uvicorn.Config(airflow, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_REDIS_CPU", redis.url)
        patch.setenv(shooting.SETTING, "true")
        patch.setitem(walls.app.dependency_overrides, walls.MAY_SEE, _allow)
        patch.setitem(walls.app.dependency_overrides, walls.MAY_SEE_ITEMS, _allow)
        patch.setitem(walls.app.dependency_overrides, security.get_user, _allow)
        patch.setitem(walls.app.dependency_overrides, walls.MAY_EDIT, _allow)
        patch.setitem(walls.app.dependency_overrides, walls.LOG_SHOT, _allow)
        patch.setattr(walls, "is_granted", lambda *_: True)
        patch.setattr(walls, "ask_database", lambda query: query(None))
        for name, answer in _queries(answers).items():
            patch.setattr(airflow_database, name, answer)
        thread.start()
        try:
            assert wait_until(lambda: server.started, 30), "the wall's server has not started"
            yield WallServer(f"http://127.0.0.1:{port}", answers)
        finally:
            server.should_exit = True
            thread.join()


async def _allow() -> None:
    """Allow every request."""


def _queries(answers: Answers) -> dict[str, Any]:
    """Return the stand-ins for the queries of `scripts.wall.airflow_database`."""

    def newest_start_runs(_: object) -> list[StartRunItem]:
        return [
            StartRunItem(start=start, run_id=f"manual-{start}", state="success", triggered=time.time())
            for start in answers.starts
        ]

    def newest_items_runs(_: object) -> list[ItemsRunItem]:
        return [
            ItemsRunItem(items=name, run_id=run.run_id, state=run.state, triggered=time.time())
            for name, run in answers.items.items()
        ]

    return {
        "newest_items_runs": newest_items_runs,
        "items_dag_run": lambda _, name: answers.items.get(name),
        "newest_start_runs": newest_start_runs,
        "count_pods": lambda *_: 3,
        "history": lambda *_: [],
        "newest_dag_runs": lambda *_: [],
    }

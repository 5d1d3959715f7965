"""The wall's pages and its API, for whoever may see the runs of DAG ``cpu`` in Airflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from cpu.errors import TemporaryError
from cpu.redis_client import patiently
from scripts.report.picture import NO_MATPLOTLIB, draw
from scripts.wall import memory, records
from scripts.wall.memory import CONNECTION
from scripts.wall.models import Cpu, Start, Wall

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cpu.redis_client import Client

STATIC = Path(__file__).parent / "static"
FRESH_SECONDS = 0.5
"""For how long a start run that was looked at is shown to others as it was: Redis is the CPUs' own."""
DRAWN_SECONDS = 2.0
"""The same of its picture."""
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}

T = TypeVar("T")
StartId = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="A start run")
]
CpuNumber = Annotated[int, PathParameter(ge=0, le=10_000, description="0, or the instruction swapped")]

router = APIRouter(
    prefix="/api",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, "cpu"))],
    responses={404: {"description": "Redis has no such start run, or none any more"}},
)


@router.get("/starts")
def starts(session: SessionDep) -> list[Start]:
    """The newest start runs."""
    return records.starts(session)


@router.get("/starts/{start}")
def wall(start: StartId, session: SessionDep) -> Wall:
    """All CPUs of a start run."""
    return WALLS.of(start, lambda: look(start, session))


@router.get("/starts/{start}/cpus/{cpu}")
def one(start: StartId, cpu: CpuNumber, session: SessionDep) -> Cpu:
    """One CPU: its program, what it has executed of it, its registers over time, its DAG runs and pods."""

    def read(client: Client) -> Cpu:
        seen = memory.snapshot(client, start)
        tile = next((tile for tile in seen.tiles if tile.cpu == cpu), None)
        if tile is None:
            raise memory.NotKeptError(f"start run {start} has no CPU {cpu}")
        return Cpu(
            tile=tile,
            program=memory.listing(client, start, cpu, seen.program),
            history=records.history(session, start, cpu),
            runs=records.runs(session, start, cpu),
        )

    return redis(read)


@router.get(
    "/starts/{start}/picture.{kind}",
    response_class=Response,
    responses={
        200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}},
        501: {"description": "There is no matplotlib, which draws it"},
    },
)
def picture(start: StartId, kind: Literal["svg", "png"]) -> Response:
    """All CPUs of a start run over time, as an image."""

    def drawn() -> bytes:
        try:
            return draw(redis(lambda client: memory.snapshot(client, start)), kind)
        except ImportError as error:
            raise HTTPException(501, NO_MATPLOTLIB) from error

    headers = {
        "Content-Disposition": f'inline; filename="{start}.{kind}"',
        # An SVG is a page of Airflow's when it is opened by itself: nothing in it is to run or to be fetched.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    return Response(PICTURES.of(f"{start}.{kind}", drawn), media_type=MEDIA_TYPES[kind], headers=headers)


app = FastAPI(
    title="CPU wall",
    description="What a start run's CPUs are doing. Log in as for Airflow's own API.",
    docs_url=None,  # these pages would load their scripts from elsewhere
    redoc_url=None,
)
app.include_router(router)


@app.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The wall itself; what it shows comes from the API, and only to who may see it."""
    return FileResponse(STATIC / "wall.html")


app.mount("/static", StaticFiles(directory=STATIC))


def look(start: str, session: Session) -> Wall:
    """A start run as it is now."""
    seen = redis(lambda client: memory.snapshot(client, start))
    return Wall(
        start=start,
        stored=seen.stored,
        now=seen.now,
        ended=seen.ended,
        expected=seen.expected,
        length=len(seen.program),
        cancelled="cancelled" in seen.facts,
        part1=seen.part1(),
        part2=seen.part2(),
        stopped=seen.stopped,
        cycles=seen.cycles,
        pods=records.pods_in_flight(session, start),
        cpus=seen.tiles,
    )


def redis(command: Callable[[Client], T]) -> T:
    """Ask Redis, or answer what is wrong: 404 where nothing is kept, 503 where Redis is not to be had."""
    try:
        url = BaseHook.get_connection(CONNECTION).get_uri()
    except AirflowNotFoundException as error:
        remedy = "add it: the address of the CPUs' Redis, such as redis://:password@redis.redis:6379/0"
        raise HTTPException(503, f"there is no Airflow connection {CONNECTION} ({remedy})") from error
    try:
        return patiently(url, command)
    except memory.NotKeptError as error:
        raise HTTPException(404, str(error)) from error
    except TemporaryError as error:
        raise HTTPException(503, str(error).replace("REDIS_URL", f"connection {CONNECTION}")) from error


class Recent:
    """What was made a moment ago, or else anew: many people may watch."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._made: dict[str, tuple[float, Any]] = {}
        self._making = threading.Lock()

    def of(self, name: str, make: Callable[[], T]) -> T:
        """What there is under this name; what has got older than the seconds is forgotten."""
        with self._making:
            now = time.monotonic()
            self._made = {one: kept for one, kept in self._made.items() if now - kept[0] <= self._seconds}
            if name not in self._made:
                made = make()
                self._made[name] = time.monotonic(), made
            kept: T = self._made[name][1]
            return kept


WALLS, PICTURES = Recent(FRESH_SECONDS), Recent(DRAWN_SECONDS)

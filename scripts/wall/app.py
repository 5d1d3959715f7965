"""The wall's pages and its API, for whoever may see the runs of DAG ``cpu`` in Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter
from sqlalchemy import exc

from cpu.errors import CpuError, LostError
from cpu.redis_client import with_retries
from scripts import snapshot
from scripts.redis_connection import CONNECTION, UnusableConnectionError, redis_url
from scripts.report.picture import NO_MATPLOTLIB, draw
from scripts.wall import records
from scripts.wall.looks import Looks
from scripts.wall.models import Cpu, Line, Start, Tile, Wall

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cpu.redis_client import Client

STATIC = Path(__file__).parent / "static"
REDIS_SECONDS = 0.4
"""How long an answer of Redis may take; a look at a start run takes a few."""
LOOKS = Looks(threads=4, wait_seconds=0.8, fresh_seconds=0.5, stale_seconds=10)
"""Of Redis, which is the CPUs' own, and of Airflow's database."""
PICTURES = Looks(threads=1, wait_seconds=20, fresh_seconds=2, stale_seconds=60)
"""Drawing takes the processor and waits for nobody."""
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
STARTS = TypeAdapter(list[Start])

T = TypeVar("T")
StartId = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="A start run")
]
CpuNumber = Annotated[int, PathParameter(ge=0, le=10_000, description="0, or the instruction swapped")]
MAY_SEE = requires_access_dag("GET", DagAccessEntity.RUN, "cpu")

router = APIRouter(
    prefix="/api",
    dependencies=[Depends(MAY_SEE)],
    responses={
        404: {"description": "Redis has no such start run, or none any more"},
        503: {"description": "Redis or Airflow's database does not answer within a second"},
    },
)


@router.get("/starts", response_model=list[Start])
async def starts() -> Response:
    """The newest start runs."""
    return as_json(await shared(LOOKS, "starts", lambda: STARTS.dump_json(from_database(records.starts))))


@router.get("/starts/{start}", response_model=Wall)
async def wall(start: StartId) -> Response:
    """All CPUs of a start run."""
    return as_json(await shared(LOOKS, f"starts/{start}", lambda: look(start).model_dump_json().encode()))


@router.get("/starts/{start}/cpus/{cpu}", response_model=Cpu)
async def one(start: StartId, cpu: CpuNumber) -> Response:
    """One CPU: its program, what it has executed of it, its registers over time, its DAG runs and pods."""
    name = f"starts/{start}/cpus/{cpu}"
    return as_json(await shared(LOOKS, name, lambda: look_at(start, cpu).model_dump_json().encode()))


@router.get(
    "/starts/{start}/picture.{kind}",
    response_class=Response,
    responses={
        200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}},
        501: {"description": "There is no matplotlib, which draws it"},
    },
)
async def picture(start: StartId, kind: Literal["svg", "png"]) -> Response:
    """All CPUs of a start run over time, as an image."""
    seen = await shared(
        LOOKS, f"snapshot/{start}", lambda: from_redis(lambda client: snapshot.snapshot(client, start))
    )

    def drawn() -> bytes:
        try:
            return draw(seen, kind)
        except ImportError as error:
            raise HTTPException(501, NO_MATPLOTLIB) from error

    headers = {
        "Content-Disposition": f'inline; filename="{start}.{kind}"',
        # An SVG is a page of Airflow's when it is opened by itself: nothing in it is to run or to be fetched.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    content = await shared(PICTURES, f"{start}.{kind}", drawn)
    return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)


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


def look(start: str) -> Wall:
    """A start run as it is now."""
    seen = from_redis(lambda client: snapshot.snapshot(client, start))
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
        pods=from_database(lambda session: records.pods_in_flight(session, start)),
        cpus=seen.tiles,
    )


def look_at(start: str, cpu: int) -> Cpu:
    """One CPU of it as it is now."""

    def read(client: Client) -> tuple[Tile, list[Line]]:
        seen = snapshot.snapshot(client, start)
        tile = next((tile for tile in seen.tiles if tile.cpu == cpu), None)
        if tile is None:
            raise snapshot.NotKeptError(f"start run {start} has no CPU {cpu}")
        return tile, snapshot.listing(client, start, cpu, seen.program)

    tile, program = from_redis(read)
    history, runs = from_database(
        lambda session: (records.history(session, start, cpu), records.runs(session, start, cpu))
    )
    return Cpu(tile=tile, program=program, history=history, runs=runs)


def from_redis(command: Callable[[Client], T]) -> T:
    """Ask Redis, or answer what is wrong: 404 where a part is not kept, 503 where it is away."""
    try:
        return with_retries(redis_url(REDIS_SECONDS), command, patience=0)
    except (snapshot.NotKeptError, LostError) as error:
        raise HTTPException(404, str(error)) from error
    except UnusableConnectionError as error:
        raise HTTPException(503, str(error)) from error
    except CpuError as error:
        raise HTTPException(503, str(error).replace("REDIS_URL", f"connection {CONNECTION}")) from error


def from_database(query: Callable[[Session], T]) -> T:
    """Ask Airflow's database, or answer that it is away."""
    try:
        with create_session(scoped=False) as session:
            return query(session)
    except (exc.OperationalError, exc.TimeoutError) as error:
        raise HTTPException(503, "Airflow's database does not answer") from error


async def shared(looks: Looks, name: str, make: Callable[[], T]) -> T:
    """What everybody who asks for it in this moment gets, or 503 where it takes too long."""
    try:
        result: T = await looks.get(name, make)
    except TimeoutError as error:
        raise HTTPException(503, "Redis or Airflow's database takes too long; ask again") from error
    return result


def as_json(content: bytes) -> Response:
    """Return what was made in a thread, so that the event loop does not make it anew for each who asks."""
    return Response(content, media_type="application/json")

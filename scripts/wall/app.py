"""The wall's page and its API, for everybody who may see the runs of DAG ``cpu`` in Airflow.

Items runs are for those who may see the runs of DAG ``items`` too.

Who may edit the runs of ``cpu`` may also kill a pod, if this Airflow allows it. Airflow keeps other pages
from forging such requests: its cookie is ``SameSite=Lax``, so that browsers leave it out of a POST from
another site. From another origin of the same site, such as another port of this machine, browsers send the
JSON that the request must have only if Airflow allows that origin, which it does not unless it is configured
to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.api_fastapi.logging.decorators import action_logging
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter
from sqlalchemy import exc

from cpu.errors import CpuError, LostError
from cpu.redis_client import with_retries
from scripts.items_snapshot import ItemsSnapshot, take_items_snapshot
from scripts.redis_connection import CONNECTION, UnusableConnectionError, redis_url
from scripts.report.picture import NO_MATPLOTLIB, render
from scripts.snapshot import (
    CpuSnapshot,
    HotLine,
    NotKeptError,
    ProgramLine,
    Snapshot,
    read_hot_lines,
    read_listing,
    take_snapshot,
)
from scripts.wall import airflow_database, shooting
from scripts.wall.changes import Moment, Moments
from scripts.wall.items import items_wall, since_mark
from scripts.wall.models import (
    CpuDetails,
    ItemsRunItem,
    ItemsWall,
    KilledPod,
    Rights,
    Shot,
    StartRunItem,
    Wall,
)
from scripts.wall.shared_results import SharedResults

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from sqlalchemy.orm import Session

    from cpu.redis_client import Client

STATIC = Path(__file__).parent / "static"
REDIS_SECONDS = 0.4
"""How long Redis may take for an answer; a snapshot takes a few of them."""
RESULTS = SharedResults(threads=4, wait_seconds=0.8, fresh_seconds=0.5, stale_seconds=10)
"""What is read from Redis and from Airflow's database."""
MOMENTS = Moments()
PROGRAMS = SharedResults(threads=1, wait_seconds=5, fresh_seconds=3, stale_seconds=60)
"""Reading what every CPU has executed takes Redis longer than the rest."""
SHOTS = SharedResults(threads=2, wait_seconds=20, fresh_seconds=0, stale_seconds=0)
"""Two people who shoot the same CPU at the same time kill one pod."""
PICTURES = SharedResults(threads=1, wait_seconds=20, fresh_seconds=2, stale_seconds=60)
"""Drawing needs only the processor, and takes seconds."""
MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
START_RUNS = TypeAdapter(list[StartRunItem])
ITEMS_RUNS = TypeAdapter(list[ItemsRunItem])
HOT_LINES = TypeAdapter(list[HotLine])

T = TypeVar("T")
StartId = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="A start run")
]
ItemsName = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="An items run")
]
CpuNumber = Annotated[
    int, PathParameter(ge=0, le=10_000, description="0, or the number of the instruction that it swaps")
]
Version = Annotated[
    str, Query(max_length=40, description="The version of an earlier answer: only CPUs that changed since")
]
KnownMarks = Annotated[
    int, Query(ge=0, le=1000, description="How many marks of the progress the page has: only later ones")
]
MAY_SEE = requires_access_dag("GET", DagAccessEntity.RUN, "cpu")
MAY_SEE_ITEMS = requires_access_dag("GET", DagAccessEntity.RUN, "items")
MAY_EDIT = requires_access_dag("PUT", DagAccessEntity.RUN, "cpu")
MAY_CANCEL = requires_access_dag("POST", DagAccessEntity.RUN, "cpu_cancel")
LOG_SHOT = action_logging("shoot_pod")
"""Writes to Airflow's audit log who killed the pod of which CPU."""

router = APIRouter(
    prefix="/api",
    dependencies=[Depends(MAY_SEE)],
    responses={
        404: {"description": "Redis does not have the start run or a part of it, or no longer has it"},
        503: {"description": "Redis or Airflow's database does not answer within a second"},
    },
)


@router.get("/starts", response_model=list[StartRunItem])
async def start_runs() -> Response:
    """The newest start runs."""

    def read() -> bytes:
        return START_RUNS.dump_json(ask_database(airflow_database.newest_start_runs))

    return json_response(await get_shared(RESULTS, "starts", read))


@router.get("/starts/{start}", response_model=Wall)
async def wall(start: StartId, since: Version = "") -> Response:
    """All CPUs of a start run, or those that have changed since an earlier answer."""

    def read() -> Moment:
        return MOMENTS.add(read_wall(start))

    moment = await get_shared(RESULTS, f"starts/{start}", read)
    return json_response(moment.since(since))


@router.get("/starts/{start}/program", response_model=list[HotLine])
async def hot_lines(start: StartId) -> Response:
    """The program, each line with how many CPUs have executed it."""

    def read() -> bytes:
        return HOT_LINES.dump_json(ask_redis(lambda client: read_hot_lines(client, start)))

    return json_response(await get_shared(PROGRAMS, f"starts/{start}", read))


@router.get("/starts/{start}/cpus/{cpu}", response_model=CpuDetails)
async def cpu_details(start: StartId, cpu: CpuNumber) -> Response:
    """One CPU: its program, what it has executed of it, its registers over time, its DAG runs and pods."""

    def read() -> bytes:
        return read_cpu(start, cpu).model_dump_json().encode()

    return json_response(await get_shared(RESULTS, f"starts/{start}/cpus/{cpu}", read))


@router.get(
    "/starts/{start}/picture.{kind}",
    response_class=Response,
    responses={
        200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}},
        501: {"description": "matplotlib, which draws the picture, is not installed"},
    },
)
async def picture(start: StartId, kind: Literal["svg", "png"]) -> Response:
    """All CPUs of a start run over time, as an image."""
    snapshot = await get_shared(RESULTS, f"snapshot/{start}", lambda: read_snapshot(start))

    def draw() -> bytes:
        try:
            return render(snapshot, kind)
        except ImportError as error:
            raise HTTPException(501, NO_MATPLOTLIB) from error

    headers = {
        "Content-Disposition": f'inline; filename="{start}.{kind}"',
        # An SVG that is opened by itself is a page of Airflow's: nothing in it may run or load anything.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    content = await get_shared(PICTURES, f"{start}.{kind}", draw)
    return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)


@router.get("/items", response_model=list[ItemsRunItem], dependencies=[Depends(MAY_SEE_ITEMS)])
async def items_runs() -> Response:
    """The newest items runs."""

    def read() -> bytes:
        return ITEMS_RUNS.dump_json(ask_database(airflow_database.newest_items_runs))

    return json_response(await get_shared(RESULTS, "items", read))


@router.get("/items/{name}", response_model=ItemsWall, dependencies=[Depends(MAY_SEE_ITEMS)])
async def items(name: ItemsName, marks: KnownMarks = 0) -> Response:
    """The progress of an items run, and at its end the report's figures."""
    found: ItemsWall = await get_shared(RESULTS, f"items/{name}", lambda: read_items(name))
    return json_response(since_mark(found, marks).model_dump_json().encode())


@router.get("/rights")
def rights(request: Request, user: GetUserDep) -> Rights:
    """What the user may do on the wall."""
    return Rights(
        cancel=is_granted(MAY_CANCEL, request, user),
        shoot=shooting.is_allowed() and is_granted(MAY_EDIT, request, user),
    )


@router.post(
    "/starts/{start}/cpus/{cpu}/shoot",
    response_model=KilledPod,
    dependencies=[Depends(MAY_EDIT), Depends(LOG_SHOT)],
    responses={403: {"description": "The user may not edit the runs of DAG cpu, or this Airflow forbids it"}},
)
async def shoot(start: StartId, cpu: CpuNumber, _: Shot) -> KilledPod:
    """Kill the pod that a CPU has now, or else its next one. Airflow then runs the cycle again."""
    if not shooting.is_allowed():
        raise HTTPException(403, f"killing pods is off: set {shooting.SETTING}=true for Airflow's API server")
    killed: KilledPod = await get_shared(SHOTS, f"{start}/{cpu}", lambda: shooting.kill_pod(start, cpu))
    return killed


app = FastAPI(
    title="CPU wall",
    description="What the CPUs of a start run are doing. Log in as for Airflow's own API.",
    docs_url=None,  # FastAPI's pages for the API would load their scripts from another host
    redoc_url=None,
)
app.include_router(router)


@app.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The wall's page. It needs no login, as all that it shows comes from the API."""
    return FileResponse(STATIC / "wall.html")


app.mount("/static", StaticFiles(directory=STATIC))


def read_wall(start: str) -> Wall:
    """Return a start run at this moment."""
    snapshot = read_snapshot(start)
    return Wall(
        version="",
        complete=True,
        start=start,
        stored=snapshot.stored,
        now=snapshot.now,
        ended=snapshot.ended,
        expected=snapshot.expected,
        length=len(snapshot.program),
        cancelled=snapshot.facts.cancelled,
        part1=snapshot.part1(),
        part2=snapshot.part2(),
        count=len(snapshot.cpus),
        stopped=snapshot.stopped,
        cycles=snapshot.cycles,
        pods=ask_database(lambda session: airflow_database.count_pods(session, start)),
        pods_created=snapshot.pods,
        cpus=snapshot.cpus,
    )


def read_items(name: str) -> ItemsWall:
    """Return an items run at this moment. Raises HTTPException 404 if neither Airflow nor Redis has it."""
    dag_run = ask_database(lambda session: airflow_database.items_dag_run(session, name))

    def from_redis(client: Client) -> tuple[ItemsSnapshot | None, str]:
        try:
            return take_items_snapshot(client, name), ""
        except LostError as error:
            return None, str(error)
        except NotKeptError:
            if dag_run is None:
                raise
            return None, ""

    snapshot, lost = ask_redis(from_redis)
    return items_wall(name, dag_run, snapshot, lost)


def read_cpu(start: str, number: int) -> CpuDetails:
    """Return one CPU of a start run at this moment."""

    def from_redis(client: Client) -> tuple[CpuSnapshot, list[ProgramLine]]:
        snapshot = take_snapshot(client, start)
        tile = snapshot.cpu(number)
        if tile is None:
            raise NotKeptError(f"start run {start} has no CPU {number}")
        return tile, read_listing(client, start, number, snapshot.program)

    tile, program = ask_redis(from_redis)
    history, runs = ask_database(
        lambda session: (
            airflow_database.history(session, start, number),
            airflow_database.newest_dag_runs(session, start, number),
        )
    )
    return CpuDetails(tile=tile, program=program, history=history, runs=runs)


def read_snapshot(start: str) -> Snapshot:
    return ask_redis(lambda client: take_snapshot(client, start))


def ask_redis(command: Callable[[Client], T]) -> T:
    """Run a command on Redis. Raises HTTPException: 404 if Redis lacks the data, 503 if it is away."""
    try:
        return with_retries(redis_url(REDIS_SECONDS), command, retry_seconds=0)
    except (NotKeptError, LostError) as error:
        raise HTTPException(404, str(error)) from error
    except UnusableConnectionError as error:
        raise HTTPException(503, str(error)) from error
    except CpuError as error:
        raise HTTPException(503, str(error).replace("REDIS_URL", f"connection {CONNECTION}")) from error


def ask_database(query: Callable[[Session], T]) -> T:
    """Run a query on Airflow's database. Raises HTTPException 503 if it is away."""
    try:
        with create_session(scoped=False) as session:
            return query(session)
    except (exc.OperationalError, exc.TimeoutError) as error:
        raise HTTPException(503, "Airflow's database does not answer") from error


async def get_shared(results: SharedResults, name: str, make: Callable[[], T]) -> T:
    """Return a result shared by all who ask for it now. Raises HTTPException 503 if it takes too long."""
    try:
        result: T = await results.get(name, make)
    except TimeoutError as error:
        raise HTTPException(503, "Redis or Airflow's database takes too long; ask again") from error
    return result


def is_granted(access: Callable[[Request, BaseUser], None], request: Request, user: BaseUser) -> bool:
    """Return whether Airflow grants a user this access."""
    try:
        access(request, user)
    except HTTPException:
        return False
    return True


def json_response(content: bytes) -> Response:
    """Return JSON that a thread has encoded already: the event loop does not encode it for each request."""
    return Response(content, media_type="application/json")

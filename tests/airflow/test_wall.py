"""The wall's API on a whole stack: it shows what Redis has and what Airflow ran, to users who may see it."""

from __future__ import annotations

import httpx
import pytest

from cpu import program as programs
from scripts.local.settings import REPOSITORY
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack, reference

STATIC = REPOSITORY / "scripts/wall/static"


@pytest.fixture(scope="module")
def finished(stack: Stack) -> tuple[str, str]:
    """The ids of a run of cpu_start and of its start run, which has ended."""
    run = stack.start(program=EXAMPLE, stop_at_first_answer=False)
    return run, stack.finish(run)[1]


PATHS = [
    *("rights", "items", "items/s"),
    *("starts", "starts/s", "starts/s/cpus/0", "starts/s/program", "starts/s/picture.svg"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "Bearer wrong"])
def test_every_path_needs_airflows_login(
    stack: Stack, wall_api: httpx.Client, path: str, token: str | None
) -> None:
    headers = {"Authorization": token} if token else {}
    answer = httpx.get(f"{stack.settings.api_url}/cpu-wall/api/{path}", headers=headers, trust_env=False)
    assert answer.status_code in (401, 403)


def test_a_start_run_has_all_cpus_and_answers_that_redis_has(
    stack: Stack, wall_api: httpx.Client, finished: tuple[str, str]
) -> None:
    _, start = finished
    wall = wall_api.get(f"api/starts/{start}").raise_for_status().json()
    program = programs.parse(EXAMPLE)
    assert [tile["cpu"] for tile in wall["cpus"]] == [0, *program.candidates()]
    for tile in wall["cpus"]:
        kept = reference(program, tile["cpu"])
        assert (tile["state"], tile["cycle"], int(tile["pc"]), int(tile["acc"])) == (
            *(kept.status, kept.cycle, kept.pc, kept.acc),
        )
    assert (wall["part1"], wall["part2"]) == ({"text": "5", "cpu": 0}, {"text": "8", "cpu": 8})
    assert (wall["stopped"], wall["pods"], wall["cancelled"]) == (len(wall["cpus"]), 0, False)
    assert wall["cycles"] == sum(tile["cycle"] for tile in wall["cpus"])
    assert wall["stored"] < wall["ended"] < wall["now"]
    details = [wall_api.get(f"api/starts/{start}/cpus/{tile['cpu']}").json() for tile in wall["cpus"]]
    assert wall["pods_created"] == 1 + sum(len(run["pods"]) for cpu in details for run in cpu["runs"])
    for run in [run for cpu in details for run in cpu["runs"]]:
        assert run["tries"] == max(task["try_number"] for task in stack.api.tasks("cpu", run["run_id"]))


def test_who_has_not_logged_in_cannot_kill_a_pod(stack: Stack) -> None:
    url = f"{stack.settings.api_url}/cpu-wall/api/starts/s/cpus/0/shoot"
    assert httpx.post(url, json={}, trust_env=False).status_code == 401


def test_the_user_may_cancel_and_on_the_local_endpoint_kill_pods(
    stack: Stack, wall_api: httpx.Client
) -> None:
    on_a_cluster = stack.settings.kubeconfig is not None
    assert wall_api.get("api/rights").json() == {"cancel": True, "shoot": not on_a_cluster}


def test_a_cpu_has_its_program_its_history_its_dag_runs_and_its_pods(
    stack: Stack, wall_api: httpx.Client, finished: tuple[str, str]
) -> None:
    _, start = finished
    cpu = wall_api.get(f"api/starts/{start}/cpus/8").raise_for_status().json()
    kept = reference(programs.parse(EXAMPLE), 8)
    assert {address for address, line in enumerate(cpu["program"]) if line["visited"]} == kept.visited
    assert [line["text"] for line in cpu["program"] if line["swapped"]] == ["nop -4"]
    assert [one["cycle"] for one in cpu["history"]] == [*range(1, kept.cycle + 1)]
    last = cpu["history"][-1]
    assert (int(last["pc"]), int(last["acc"])) == (kept.pc, kept.acc)
    newest_first = [f"{start}.cpu-8.cycle-{cycle}" for cycle in range(kept.cycle, -1, -1)]
    assert [run["run_id"] for run in cpu["runs"]] == newest_first
    assert cpu["runs"][-1]["pods"] == [f"cpu-{start}-8-0-load"]
    assert cpu["runs"][0]["pods"] == [f"cpu-{start}-8-{kept.cycle}-{end}" for end in ("exec", "read")]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_start_run_is_available_as_a_picture(
    wall_api: httpx.Client, finished: tuple[str, str], kind: str
) -> None:
    _, start = finished
    answer = wall_api.get(f"api/starts/{start}/picture.{kind}").raise_for_status()
    assert answer.headers["Content-Type"] == {"svg": "image/svg+xml", "png": "image/png"}[kind]
    assert answer.headers["Content-Disposition"] == f'inline; filename="{start}.{kind}"'
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    if kind == "svg":
        assert "Part 1: 5" in answer.text
        assert "Part 2: 8 (line 8: jmp -4 → nop -4)" in answer.text
    else:
        assert answer.content.startswith(b"\x89PNG")


def test_start_runs_are_listed_newest_first_with_their_run_of_cpu_start(
    wall_api: httpx.Client, finished: tuple[str, str]
) -> None:
    run, start = finished
    listed = wall_api.get("api/starts").raise_for_status().json()
    assert [(one["run_id"], one["state"]) for one in listed if one["start"] == start] == [(run, "success")]
    assert [one["triggered"] for one in listed] == sorted((one["triggered"] for one in listed), reverse=True)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("starts/nobody", 404, "start run nobody is not kept"),
        ("starts/UPPER", 422, "should match pattern"),
        ("starts/{start}/cpus/2", 404, "has no CPU 2"),
        ("starts/nobody/picture.svg", 404, "start run nobody is not kept"),
        ("starts/UPPER/picture.png", 422, "should match pattern"),
        ("starts/{start}/picture.pdf", 422, "'svg' or 'png'"),
        ("starts/{start}/cpus/10001", 422, "less than or equal to 10000"),
    ],
)
def test_a_request_for_something_that_does_not_exist_is_refused_with_the_reason(
    wall_api: httpx.Client, finished: tuple[str, str], path: str, status: int, said: str
) -> None:
    answer = wall_api.get(f"api/{path.format(start=finished[1])}")
    assert answer.status_code == status
    assert said in answer.text


def test_openapi_description_has_every_path(wall_api: httpx.Client) -> None:
    paths = wall_api.get("openapi.json").raise_for_status().json()["paths"]
    assert sorted(paths) == [
        "/api/items",
        "/api/items/{name}",
        "/api/rights",
        "/api/starts",
        "/api/starts/{start}",
        "/api/starts/{start}/cpus/{cpu}",
        "/api/starts/{start}/cpus/{cpu}/shoot",
        "/api/starts/{start}/picture.{kind}",
        "/api/starts/{start}/program",
    ]


def test_the_page_loads_nothing_from_other_hosts(wall_api: httpx.Client) -> None:
    page = wall_api.get("").raise_for_status().text
    assert "CPU wall" in page
    for name in ("wall.css", "wall.js", "theme.js"):
        assert f'"static/{name}"' in page
    for file in STATIC.iterdir():
        text = page if file.suffix == ".html" else wall_api.get(f"static/{file.name}").raise_for_status().text
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_wall_is_in_airflows_menu_and_a_tab_of_each_dag_run(stack: Stack) -> None:
    (plugin,) = [one for one in stack.api.request("GET", "/plugins")["plugins"] if one["name"] == "cpu_wall"]
    views = {view["destination"]: (view["name"], view["href"]) for view in plugin["external_views"]}
    assert views == {
        "nav": ("CPU wall", "cpu-wall/"),
        "dag_run": ("CPU wall", "cpu-wall/?run={RUN_ID}"),
    }

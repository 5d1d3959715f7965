"""The wall's API on a whole stack: it shows what Redis holds and what Airflow ran, to whom may see it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from cpu import program as programs
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.waiting import wait_until
from tests.support.solver import EXAMPLE
from tests.support.stack import Stack, reference


class AsksAgain(httpx.HTTPTransport):
    """Asks again where the wall says that it takes too long, as its page does: the machine may be busy."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found: list[httpx.Response] = []

        def answered() -> bool:
            found.append(super(AsksAgain, self).handle_request(request))
            return found[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(answered, 30)
        return found[-1]


@pytest.fixture(scope="module")
def visitor(stack: Stack) -> Iterator[httpx.Client]:
    """Somebody who has logged in."""
    with httpx.Client(
        base_url=stack.settings.api_url, transport=AsksAgain(), trust_env=False, timeout=30
    ) as client:
        secret = passwords(stack.settings.state).admin
        answer = client.post("/auth/token", json={"username": ADMIN, "password": secret})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        client.base_url = httpx.URL(f"{stack.settings.api_url}/cpu-wall/")
        yield client


@pytest.fixture(scope="module")
def finished(stack: Stack) -> tuple[str, str]:
    """The run of cpu_start, and the start run."""
    run = stack.start(program=EXAMPLE, stop_at_first_answer=False)
    return run, stack.finish(run)[1]


@pytest.mark.parametrize("path", ["starts", "starts/s", "starts/s/cpus/0", "starts/s/picture.svg"])
@pytest.mark.parametrize("token", [None, "Bearer wrong"])
def test_nobody_is_told_anything_without_airflow_s_login(
    stack: Stack, visitor: httpx.Client, path: str, token: str | None
) -> None:
    headers = {"Authorization": token} if token else {}
    answer = httpx.get(f"{stack.settings.api_url}/cpu-wall/api/{path}", headers=headers, trust_env=False)
    assert answer.status_code in (401, 403)


def test_it_shows_all_cpus_of_a_start_run(
    stack: Stack, visitor: httpx.Client, finished: tuple[str, str]
) -> None:
    _, start = finished
    wall = visitor.get(f"api/starts/{start}").raise_for_status().json()
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


def test_it_shows_a_cpu_from_near(stack: Stack, visitor: httpx.Client, finished: tuple[str, str]) -> None:
    _, start = finished
    cpu = visitor.get(f"api/starts/{start}/cpus/8").raise_for_status().json()
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
def test_it_shows_a_start_run_as_a_picture(
    visitor: httpx.Client, finished: tuple[str, str], kind: str
) -> None:
    _, start = finished
    answer = visitor.get(f"api/starts/{start}/picture.{kind}").raise_for_status()
    assert answer.headers["Content-Type"] == {"svg": "image/svg+xml", "png": "image/png"}[kind]
    assert answer.headers["Content-Disposition"] == f'inline; filename="{start}.{kind}"'
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    if kind == "svg":
        assert "Part 1: 5" in answer.text
        assert "Part 2: 8 (line 8: jmp -4 → nop -4)" in answer.text
    else:
        assert answer.content.startswith(b"\x89PNG")


def test_start_runs_are_listed_with_their_run_of_cpu_start(
    visitor: httpx.Client, finished: tuple[str, str]
) -> None:
    run, start = finished
    listed = visitor.get("api/starts").raise_for_status().json()
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
def test_what_there_is_not_is_said(
    visitor: httpx.Client, finished: tuple[str, str], path: str, status: int, said: str
) -> None:
    answer = visitor.get(f"api/{path.format(start=finished[1])}")
    assert answer.status_code == status
    assert said in answer.text


def test_its_api_is_described(visitor: httpx.Client) -> None:
    paths = visitor.get("openapi.json").raise_for_status().json()["paths"]
    assert sorted(paths) == [
        "/api/starts",
        "/api/starts/{start}",
        "/api/starts/{start}/cpus/{cpu}",
        "/api/starts/{start}/picture.{kind}",
    ]


def test_the_page_needs_nothing_from_elsewhere(visitor: httpx.Client) -> None:
    page = visitor.get("").raise_for_status().text
    assert "CPU wall" in page
    for part in ("wall.css", "wall.js", "theme.js"):
        assert f'"static/{part}"' in page
        assert "://" not in visitor.get(f"static/{part}").raise_for_status().text.replace(
            "http://www.w3.org/2000/svg", ""
        )


def test_airflow_s_menu_leads_to_it(stack: Stack) -> None:
    (plugin,) = [one for one in stack.api.request("GET", "/plugins")["plugins"] if one["name"] == "cpu_wall"]
    views = {view["destination"]: (view["name"], view["href"]) for view in plugin["external_views"]}
    assert views == {
        "nav": ("CPU wall", "cpu-wall/"),
        "dag_run": ("CPU wall", "cpu-wall/?run={RUN_ID}"),
    }

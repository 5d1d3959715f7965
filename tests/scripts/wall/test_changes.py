"""A page gets what has changed since its last poll, and all CPUs if the server does not know its version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.snapshot import CpuSnapshot
from scripts.wall.changes import Moments
from scripts.wall.models import Wall

WAITING = CpuSnapshot(0, None, None, "waiting", 0, "0", "0", None, None)


def wall(*cycles: int, start: str = "here") -> Wall:
    """Return a wall with a CPU for each of these numbers of cycles."""
    cpus = [replace(WAITING, cpu=number, cycle=cycle) for number, cycle in enumerate(cycles)]
    return Wall(
        version="",
        complete=True,
        start=start,
        stored=1.0,
        now=2.0,
        ended=None,
        expected=None,
        length=9,
        cancelled=False,
        part1=None,
        part2=None,
        count=len(cpus),
        stopped=0,
        cycles=sum(cycles),
        pods=0,
        pods_created=1,
        cpus=cpus,
    )


def numbers(answer: Wall) -> list[int]:
    return [cpu.cpu for cpu in answer.cpus]


@pytest.mark.parametrize("version", ["", "1", "nonsense", "00000000-1", "-", "00000000-²"])
def test_a_page_whose_version_this_server_does_not_know_gets_all_cpus(version: str) -> None:
    answer = Wall.model_validate_json(Moments().add(wall(0, 1, 2)).since(version))
    assert (numbers(answer), answer.complete) == ([0, 1, 2], True)


def test_a_page_gets_only_the_cpus_that_have_changed_since_its_version() -> None:
    moments = Moments()
    first = Wall.model_validate_json(moments.add(wall(0, 1, 2)).since(""))
    second = Wall.model_validate_json(moments.add(wall(0, 2, 2)).since(first.version))
    assert (numbers(second), second.complete, second.cycles) == ([1], False, 4)
    latest = moments.add(wall(1, 2, 2))
    assert numbers(Wall.model_validate_json(latest.since(second.version))) == [0]
    assert numbers(Wall.model_validate_json(latest.since(first.version))) == [0, 1]
    nothing = Wall.model_validate_json(latest.since(latest.wall.version))
    assert (numbers(nothing), nothing.count) == ([], 3)


def test_start_runs_do_not_mix() -> None:
    moments = Moments()
    here = moments.add(wall(1, 2)).wall.version
    moments.add(wall(5, 6, start="there"))
    assert numbers(Wall.model_validate_json(moments.add(wall(1, 3)).since(here))) == [1]


def test_a_cpu_counts_as_changed_once_its_earlier_state_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = Moments()
    version = moments.add(wall(1, 2)).wall.version
    moments._latest.clear()
    assert numbers(Wall.model_validate_json(moments.add(wall(1, 2)).since(version))) == [0, 1]

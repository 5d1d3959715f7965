"""The command `survey`: which cycles are due, which CPUs have an answer."""

from typing import Any

import pytest

from cpu import commands
from cpu.cli import parse
from cpu.describe import with_sentence
from cpu.keys import Keys
from cpu.redis_client import Client
from cpu.result import to_line
from cpu.start_run import StartRun
from scripts.waiting import wait_until
from tests.support.start_run_client import StartRunClient

ENDLESS = "acc +1\njmp -1\njmp -2\n"  # CPUs 2 and 3, neither of which ends


def test_cycle_0_is_due_for_a_cpu_that_is_not_loaded(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    due = [[0, 0, 0], [2, 0, 0], [3, 0, 0]]
    assert start_run.survey() == {
        "status": "running", "start": start_run.start, "cycles": 1, "due": due, "answers": [], "more": None,
    }  # fmt: skip


@pytest.mark.parametrize(("parts", "cpus"), [("1", [0]), ("2", [2, 3]), ("12", [0, 2, 3])])
def test_a_survey_reports_the_cpus_of_the_parts_to_solve(
    start_run: StartRunClient, parts: str, cpus: list[int]
) -> None:
    start_run.store_text(ENDLESS, parts)
    assert [cpu for cpu, _, _ in start_run.survey()["due"]] == cpus


def test_a_survey_reports_the_cycles_per_pod_of_the_start_run(start_run: StartRunClient) -> None:
    start_run.store_text(cycles=100)
    assert start_run.survey()["cycles"] == 100
    start_run.client.hdel(Keys(start_run.start).facts, "cycles")  # as an earlier version stored it
    assert start_run.survey()["cycles"] == 1


def test_a_survey_reports_the_cycle_that_was_asked_for_last_and_the_next_one(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(parts="1")
    start_run.load(0)
    assert start_run.survey()["due"] == [[0, 0, 1]]
    start_run.execute(0, 1)
    assert start_run.survey()["due"] == [[0, 1, 2]]
    start_run.execute(0, 2, 3)
    assert start_run.survey()["due"] == [[0, 2, 5]]


def test_a_survey_leaves_out_a_cpu_that_has_stopped_without_an_answer(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    start_run.run(2)
    assert [cpu for cpu, _, _ in start_run.survey()["due"]] == [0, 3]


def test_a_survey_reports_an_answer_with_the_cycle_whose_run_posts_it(start_run: StartRunClient) -> None:
    start_run.store_text(parts="1")
    start_run.load(0)
    start_run.execute(0, 1, 2)
    start_run.execute(0, 3, 10**6)
    found = start_run.survey()
    assert (found["status"], found["due"], found["answers"]) == ("over", [], [[0, 3]])


def test_a_survey_reports_an_answer_until_it_is_as_old_as_the_ttl(
    start_run: StartRunClient,
) -> None:
    start_run.store_text(ENDLESS)
    start_run.load(0)
    start_run.execute(0, 1, 10**6)
    assert start_run.survey()["answers"] == [[0, 1]]
    keys = Keys(start_run.start)
    stop: Any = start_run.client.hget(keys.stops, "0")
    verdict, _, stopped_at = stop.decode().partition(":")
    assert verdict == "part1"
    start_run.client.hset(keys.stops, "0", f"{verdict}:{float(stopped_at) - start_run.ttl}")
    assert start_run.survey()["answers"] == []


def test_the_last_cycle_is_due_again_if_the_stop_was_not_recorded(
    start_run: StartRunClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise InterruptedError("between its two commits")

    start_run.store_text(ENDLESS, parts="2")
    start_run.load(2)
    with monkeypatch.context() as patched:
        patched.setattr(StartRun, "stop", die)
        with pytest.raises(InterruptedError):
            start_run.execute(2, 1, 10)
    assert start_run.survey()["due"] == [[2, 1, 1], [3, 0, 0]]
    start_run.execute(2, 1, 10)
    assert start_run.survey()["due"] == [[3, 0, 0]]


def test_a_start_run_is_over_when_all_its_cpus_have_stopped(start_run: StartRunClient) -> None:
    start_run.store_text(ENDLESS)
    for cpu in (0, 2, 3):
        start_run.run(cpu)
    found = start_run.survey()
    assert found["status"] == "over"
    assert found["due"] == []
    assert [cpu for cpu, _ in found["answers"]] == [0, 3]  # part 1, and that no swap helps


def test_a_start_run_that_has_expired_is_over(start_run: StartRunClient) -> None:
    assert start_run.survey() == {
        "status": "over",
        "start": start_run.start,
        "due": [],
        "answers": [],
        "more": None,
    }


def test_a_survey_refreshes_no_ttl(start_run: StartRunClient) -> None:
    start_run.ttl = 1
    start_run.store_text()
    assert wait_until(lambda: not start_run.survey()["due"], 10), "the start run does not expire"


def test_a_survey_of_many_cpus_goes_page_by_page(start_run: StartRunClient) -> None:
    count = 10_000
    start_run.store_text("nop +0\n" * count)
    reported, cpu, pages = [], 0, 0
    while cpu is not None:
        found = start_run.survey(cpu)
        # Numbers as long as they can get.
        longest = {**found, "due": [[one, count + 1, count + 1] for one, _, _ in found["due"]]}
        assert len(to_line(with_sentence(longest))) < 4_000
        reported += [one for one, _, _ in found["due"]]
        cpu, pages = found["more"], pages + 1
    assert reported == list(range(count + 1))
    assert pages == -(-(count + 1) // commands.SURVEY_SIZE)


def test_a_survey_works_on_a_redis_cluster(redis_cluster: Client) -> None:
    start_run = StartRunClient(redis_cluster)
    start_run.store_text(ENDLESS)
    start_run.run(2)
    assert start_run.survey()["due"] == [[0, 0, 0], [3, 0, 0]]


def test_the_arguments_of_survey_are_a_start_run_and_the_first_cpu() -> None:
    options = parse(["survey", "--start", "s", "--cpu", "7"])
    assert (options.start, options.cpu) == ("s", 7)

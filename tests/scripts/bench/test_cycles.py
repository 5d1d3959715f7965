"""The benchmark of cycles: its program, and how it evaluates its measurements."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cpu import program as programs
from scripts.bench.cycles import numbers, parse, program
from scripts.bench.runs import Run, cycle_of, pairs, phases
from scripts.bench.turns import Turn, line, ratios, summary, table
from scripts.bench.watcher import Watcher
from tests.support.designs import tasks_of


@pytest.mark.parametrize("cpus", [2, 32])
def test_the_program_has_as_many_candidates_as_cpus(cpus: int) -> None:
    assert list(programs.parse(program(cpus)).candidates()) == numbers(cpus)


def test_a_single_cpu_runs_the_program_as_written() -> None:
    assert numbers(1) == [0]


def test_a_cycle_is_paired_with_the_next_cycle_of_the_same_cpu() -> None:
    runs = [
        Run(cycle_of(f"s.cpu-{cpu}.cycle-{cycle}"), when)
        for cpu, cycle, when in ((7, 0, 0), (8, 0, 1), (7, 1, 2), (8, 1, 3), (7, 2, 4), (7, 4, 9))
    ]
    assert [(one.cycle, later.created) for one, later in pairs(runs)] == [(("s", 7, 1), 4)]


def test_the_line_of_a_turn_has_its_median_seconds_and_its_cpu_seconds() -> None:
    used = {"scheduler": 0.25, "postgres": 0.125, "pods": 0.05, "redis": 0.01}
    turn = Turn("ours", 1, [1.0, 2.0, 9.0], 0.5, used, {"pod": 0.1})
    assert (turn.median_seconds, turn.cpu_seconds) == (2.0, 0.375)
    assert line(turn).split() == [
        *("ours", "1", "CPUs", "2.00", "s", "per", "cycle", "(pod", "0.10)"),
        *("0.50", "cycles/s", "0.375", "CPU", "s", "per", "cycle"),
    ]


def test_the_phases_of_a_cycle_add_up_to_its_seconds() -> None:
    waited_for = Run(("s", 7, 1), 10.0, scheduled=10.1, queued=10.25, started=10.5)
    found = phases(waited_for, created=10.75, ended=11.0, following=12.0, creator="worker")
    assert found == {"scheduler": 0.25, "worker": 0.5, "pod": 0.25, "next run": 1.0}
    handed_over = Run(("s", 7, 1), 10.0, scheduled=14.0, queued=14.5, started=11.0)
    found = phases(handed_over, created=12.0, ended=12.25, following=16.0, creator="triggerer")
    assert found == {"scheduler": 1.5, "triggerer": 2.75, "pod": 0.25, "worker": 1.5}
    assert sum(found.values()) == 6.0
    found = phases(handed_over, created=12.0, ended=12.25, following=16.0, creator="worker")
    assert found == {"scheduler": 1.5, "triggerer": 1.75, "pod": 0.25, "worker": 2.5}


def turn(design: str, seconds: float, rate: float, work: float) -> Turn:
    return Turn(design, 32, [seconds], rate, {"scheduler": work}, {})


def test_ratios_compare_designs_with_the_same_number_of_cpus() -> None:
    ours, bare, article = turn("ours", 6, 4, 0.25), turn("bare", 2, 16, 0), turn("article", 60, 0.5, 2)
    assert ratios([bare, ours, article]) == [
        "  32 CPUs: ours takes 3.00 times the seconds of the bare client and has 0.25 times its rate",
        "  32 CPUs: the article's design takes 10.0 times our seconds and 8.0 times our CPU seconds; "
        "ours has 8.0 times its rate",
    ]
    assert ratios([bare, article]) == []


def test_the_table_says_which_components_are_not_in_the_sum() -> None:
    used = {"scheduler": 0.25, "worker": 0.5, "pods": 0.05}
    rows = table([Turn("ours", 1, [1.0], 1.0, used, {})]).splitlines()[1:]
    assert [" ".join(row.split()) for row in rows] == [
        "scheduler 0.250 CPU s",
        "worker 0.500 CPU s",
        "pods 0.050 CPU s (not in the sum)",
    ]


def test_the_summary_has_the_figures_by_stack_design_and_number_of_cpus() -> None:
    one = Turn("bare", 1, [2.0, 1.0, 9.0], 0.5, {"client": 0.125, "pods": 1.0}, {})
    assert summary("local", [turn("ours", 6, 4, 0.25), one]) == {
        "local": {
            "ours": {
                "32": {"seconds_per_cycle": 6, "cycles_per_second": 4, "cpu_seconds_per_cycle": 0.25},
            },
            "bare": {
                "1": {"seconds_per_cycle": 2.0, "cycles_per_second": 0.5, "cpu_seconds_per_cycle": 0.125},
            },
        }
    }


def pod(command: str, *, ended: bool, sidecar: bool = False) -> SimpleNamespace:
    def status(name: str, terminated: bool) -> SimpleNamespace:
        return SimpleNamespace(name=name, state=SimpleNamespace(terminated=terminated))

    statuses = [
        status("base" if sidecar else "main", ended),
        *([status("sidecar", False)] if sidecar else []),
    ]
    labels = {"app": "cluster-cpu", "command": command, "start": "s", "cpu": "7", "cycle": "3"}
    return SimpleNamespace(
        metadata=SimpleNamespace(labels=labels),
        status=SimpleNamespace(phase="Running", container_statuses=statuses),
    )


@pytest.mark.parametrize("sidecar", [False, True])
def test_the_watcher_takes_a_pod_as_ended_when_its_working_container_has(sidecar: bool) -> None:
    watcher = Watcher()
    watcher.see(pod("load", ended=True))
    assert not watcher.created
    watcher.see(pod("exec", ended=False, sidecar=sidecar))
    assert list(watcher.created) == [("s", 7, 3)]
    assert not watcher.ended
    watcher.see(pod("exec", ended=True, sidecar=sidecar))
    assert list(watcher.ended) == [("s", 7, 3)]


@pytest.mark.parametrize("dag", ["stock", "stock_deferrable"])
def test_the_stock_operator_s_dags_have_one_pod_and_trigger_the_next_run(dag: str) -> None:
    assert str(tasks_of("stock", dag)[1]) == str({"execute": ["trigger"], "trigger": []})


def test_the_article_s_dag_has_the_article_s_tasks() -> None:
    assert str(tasks_of("article", "dag")[1]) == str(
        {
            "check_new": ["execute", "load"],
            "check_result": ["end", "trigger"],
            "trigger": [],
            "load": ["check_result"],
            "execute": ["check_result"],
            "end": [],
        }
    )


def test_a_job_is_left_out_on_the_local_endpoint() -> None:
    options = parse(["--designs", "bare", "job", "ours"])
    assert (options.designs, options.left_out) == (["bare", "ours"], ["job"])
    options = parse(["--designs", "bare", "job", "--kubeconfig", "any"])
    assert (options.designs, options.left_out) == (["bare", "job"], [])


@pytest.mark.parametrize(
    "option", ["--designs=job", "--cycles=0", "--cpus=0", "--seconds=0", "--designs=none"]
)
def test_impossible_options_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([option])
    assert ended.value.code == 2
    assert option.split("=")[0] in capsys.readouterr().err

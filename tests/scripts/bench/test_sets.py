"""The benchmark of many pods: its designs, its options and its table."""

from __future__ import annotations

import pytest

from scripts.bench.set_table import Measured, summary, table
from scripts.bench.sets import DAGS, parse
from tests.support.designs import tasks_of

BARE = Measured("bare", 100, 32, 4.0, {"client": 0.5, "pods": 1.0})
OURS = Measured(
    "ours",
    100,
    32,
    5.0,
    {"scheduler": 0.25, "postgres": 0.75, "pods": 1.0},
    task_instances=1,
    memory=9_400_000,
)
STOCK = Measured("stock", 8, 32, 8.0, {"worker": 8.0}, task_instances=9, memory=700_000_000)


def test_the_table_has_the_rates_and_their_shares_of_the_bare_client_s() -> None:
    heading, *rows = table([BARE, OURS, STOCK]).splitlines()[:4]
    assert heading.split("  ")[-1] == "memory, MB"
    assert [row.split() for row in rows] == [
        ["bare", "100", "4.0", "25.00", "100%", "0.0050", "-", "-"],
        ["ours", "100", "5.0", "20.00", "80%", "0.0100", "1", "9"],
        ["stock", "8", "8.0", "1.00", "4%", "1.0000", "9", "700"],
    ]
    assert len({len(line) for line in (heading, *rows)}) == 1


def test_the_table_says_which_components_are_not_in_the_sum() -> None:
    assert table([OURS]).splitlines()[-1].split() == [
        *("ours", "scheduler", "0.0025,", "postgres", "0.0075,", "(pods", "0.0100)")
    ]


def test_without_the_bare_client_there_is_no_share() -> None:
    assert table([OURS]).splitlines()[1].split()[4] == "-"
    assert summary("cluster", [OURS])["cluster"]["ours"]["share_of_bare"] is None


def test_the_summary_has_the_figures_by_stack_and_design() -> None:
    found = summary("local", [BARE, OURS])
    assert found["local"].keys() == {"bare", "ours"}
    assert found["local"]["ours"] == {
        "pods": 100,
        "in_flight": 32,
        "pods_per_second": 20.0,
        "share_of_bare": 0.8,
        "cpu_seconds_per_pod": 0.01,
        "task_instances": 1,
        "memory_above_idle_bytes": 9_400_000,
    }


def test_ours_is_one_task() -> None:
    assert tasks_of("set_of_pods", "dag") == (DAGS["ours"], {"work": []})


@pytest.mark.parametrize(("dag", "design"), [("mapped", "stock"), ("mapped_deferrable", "stock-deferrable")])
def test_the_stock_operator_is_mapped_over_the_list_of_a_task(dag: str, design: str) -> None:
    assert tasks_of("mapped", dag) == (DAGS[design], {"plan": ["work"], "work": []})


def test_a_job_is_left_out_on_the_local_endpoint() -> None:
    options = parse([])
    assert (options.designs, options.left_out) == (["bare", "ours", "stock"], ["job"])
    assert "job" in parse(["--kubeconfig", "any", "--host-for-pods", "192.0.2.7"]).designs


@pytest.mark.parametrize(
    "option",
    ["--designs=job", "--designs=none", "--pods=0", "--in-flight=0", "--stock-pods=0", "--stock-pods=1025"],
)
def test_impossible_options_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([option])
    assert ended.value.code == 2
    assert option.split("=")[0] in capsys.readouterr().err

"""The benchmark of a long history: what it copies, and how it compares its measurements."""

from __future__ import annotations

import pytest

from scripts.bench.history import Cost, copy_statement, parse, table


def test_a_copied_row_belongs_to_an_earlier_run_and_is_otherwise_the_same() -> None:
    columns = [
        ["id", "uuid"],
        ["run_id", "text"],
        ["start_date", "timestamp with time zone"],
        ["state", "int"],
    ]
    statement = copy_statement("task_instance", columns)
    assert statement.startswith("INSERT INTO task_instance (id, run_id, start_date, state) SELECT ")
    assert "old.start_date - made.earlier, old.state FROM made" in statement
    assert "replace(old.run_id::text, made.start, made.new_start)::text" in statement


def test_the_ids_of_copied_audit_log_rows_are_left_to_the_database() -> None:
    assert copy_statement("log", [["id", "integer"], ["event", "text"]]).startswith(
        "INSERT INTO log (event) "
    )


def test_copied_xcoms_refer_to_the_copied_run() -> None:
    assert "SELECT made.new_id FROM" in copy_statement("xcom", [["dag_run_id", "integer"]])


def test_the_table_has_the_medians_and_their_ratio() -> None:
    before = Cost(
        [1.0], {"api-server": 0.3, "scheduler": 0.3, "worker": 0.9, "triggerer": 0.3, "postgres": 0.3}, 500
    )
    before += Cost(
        [9.0, 2.0],
        {"api-server": 0.0, "scheduler": 0.0, "worker": 0.0, "triggerer": 0.0, "postgres": 0.3},
        1000,
    )
    after = Cost(
        [2.0, 2.2, 2.4],
        {"api-server": 0.3, "scheduler": 0.6, "worker": 0.9, "triggerer": 0.3, "postgres": 0.9},
        1800,
    )
    rows = [line.split()[-3:] for line in table(before, after).splitlines()]
    assert rows == [
        ["before", "after", "ratio"],
        ["2.000", "2.200", "1.10"],
        ["0.800", "1.000", "1.25"],
        ["0.100", "0.100", "1.00"],
        ["0.100", "0.200", "2.00"],
        ["0.300", "0.300", "1.00"],
        ["0.100", "0.100", "1.00"],
        ["0.200", "0.300", "1.50"],
        ["500.000", "600.000", "1.20"],
    ]


def test_a_component_that_has_used_nothing_has_no_ratio() -> None:
    used = {"api-server": 0.3, "scheduler": 0.3, "worker": 0.0, "triggerer": 0.3, "postgres": 0.3}
    lines = table(Cost([1.0], used, 500), Cost([1.0], used, 500)).splitlines()
    (worker,) = (line.split() for line in lines if "worker" in line)
    assert worker[-2:] == ["0.000", "0.000"]


def test_zero_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--runs", "0"])
    assert "--runs, --cycles and --rounds are 1 or more" in capsys.readouterr().err

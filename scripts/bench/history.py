"""What a cycle costs with an empty history, and with many finished DAG runs in it.

A stack of its own, or the one given, runs one CPU at one cycle per pod. Then every finished run of ``cpu`` is
copied, again and again, with all that the database keeps of it (task instances, XComs, rendered fields, audit
log), each copy under a start run's name of its own, a little further in the past. Nobody runs ANALYZE: it
waits until PostgreSQL's autovacuum has seen the new rows, as in a stack that came to so many. Then the same
CPU runs once more.

Seconds are from one cycle's DAG run to the next one's; CPU seconds are those of the component's processes and
of all that they have started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

from scripts.local import postgres, processes
from scripts.local.airflow import ADMIN
from scripts.local.api import Api
from scripts.local.passwords import passwords
from scripts.local.settings import REPOSITORY, Settings, load
from scripts.local.waiting import wait_until

COPIED = ("dag_run", "task_instance", "xcom", "rendered_task_instance_fields", "log")
"""The tables that a finished run has rows in, each after those it refers to."""
COUNTED = ("api-server", "scheduler", "triggerer", "postgres")
"""Those whose work grows with the cycles; the tasks are the scheduler's children."""
BEGIN = 5
"""Cycles that do not count: the first ones warm things up."""
PATIENCE = 600.0
STATISTICS_PATIENCE = 300.0


@dataclass(frozen=True)
class Cost:
    """What cycles cost: the seconds of each, and the CPU seconds per cycle by component."""

    seconds: list[float]
    cpu: dict[str, float]

    @property
    def typical(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    @property
    def work(self) -> float:
        """The CPU seconds per cycle of all components."""
        return sum(self.cpu.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, fill, measure again and print."""
    options = parse(arguments)
    with stack(options.state) as settings:
        before = measure(settings, options.cycles)
        size = database_size(settings)
        fill(settings, options.runs)
        grown = (database_size(settings) - size) / options.runs
        after = measure(settings, options.cycles)
        print(table(before, after))
        print(f"{options.cycles} cycles each, at the end with {count(settings)} finished runs")
        print(f"{grown / 1024:.1f} KiB of database per run")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.history", description=__doc__, formatter_class=raw
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="of a stack that is up; its history is filled up for good (default: a stack of its own)",
    )
    parser.add_argument("--runs", type=int, default=50_000, help="how many finished runs to add (50000)")
    parser.add_argument("--cycles", type=int, default=60, help="how many cycles to measure each time (60)")
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.cycles < 1:
        parser.error("--runs and --cycles are 1 or more")
    return options


@contextlib.contextmanager
def stack(state: Path | None) -> Iterator[Settings]:
    """The stack in that folder, or one of the benchmark's own, which is removed afterwards."""
    if state:
        found = load(state.resolve())
        if found is None:
            sys.exit(f"there is no stack in {state}: give the folder of one that is up")
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="cpu-bench-") as folder:
        command = [sys.executable, "-m", "scripts.local"]
        own = {**os.environ, "STACK_DIR": str(Path(folder) / "state")}
        ports = zip(("--port", "--redis-port", "--kube-port"), map(str, free_ports(3)), strict=True)
        try:
            options = [word for pair in ports for word in pair]
            subprocess.run([*command, "up", *options], cwd=REPOSITORY, env=own, check=True)
            with stack(Path(own["STACK_DIR"])) as made:
                yield made
        finally:
            subprocess.run([*command, "down", "--purge"], cwd=REPOSITORY, env=own, check=True)


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nobody listens on right now."""
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in found]


def measure(settings: Settings, cycles: int) -> Cost:
    """Have one CPU run for so many cycles, and some before them."""
    with Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api:
        return measured(settings, api, cycles)


def measured(settings: Settings, api: Api, cycles: int) -> Cost:
    """The same, by this client of Airflow's."""
    lines = BEGIN + cycles
    run = api.trigger("cpu_start", {"program": "acc +1\n" * lines + f"jmp -{lines}\n", "parts": "part 1"})
    run_id = run["dag_run_id"]
    require(lambda: api.run("cpu_start", run_id)["state"] == "success", "cpu_start does not succeed")
    start = str(api.xcom("cpu_start", run_id, "store")["start"])

    def begun() -> list[datetime]:
        asked = "SELECT created_at FROM dag_run WHERE starts_with(run_id, :'prefix') ORDER BY id"
        found = postgres.ask(settings, asked, prefix=f"{start}.cpu-0.")
        return [datetime.fromisoformat(when) for (when,) in found]

    require(lambda: len(begun()) > BEGIN, "the first cycles do not come")
    work = cpu_seconds(settings)
    first = len(begun()) - 1
    require(lambda: len(begun()) >= lines, "the last cycle does not come")
    spent = cpu_seconds(settings)
    moments = begun()[first:]
    require(lambda: api.count_runs("cpu", state=["queued", "running"]) == 0, "the CPU does not stop")
    seconds = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    return Cost(seconds, {name: (spent[name] - work[name]) / len(seconds) for name in COUNTED})


def require(predicate: Callable[[], bool], otherwise: str) -> None:
    """Wait until it is so, or end the program."""
    if not wait_until(predicate, PATIENCE):
        sys.exit(otherwise)


def cpu_seconds(settings: Settings) -> dict[str, float]:
    """The CPU seconds that each component's processes have used until now, ended ones included."""
    used: dict[str, float] = defaultdict(float)
    for process, name in processes.members(settings).items():
        with contextlib.suppress(psutil.Error):
            used[name] += sum(process.cpu_times()[:4])
    return used


def database_size(settings: Settings) -> int:
    """The bytes of the tables that are copied, with their indexes."""
    total = " + ".join(f"pg_total_relation_size('{name}')" for name in COPIED)
    return int(postgres.ask(settings, f"SELECT {total}")[0][0])


def count(settings: Settings) -> int:
    """How many runs of ``cpu`` have ended."""
    asked = "SELECT count(*) FROM dag_run WHERE dag_id = 'cpu' AND state IN ('success', 'failed')"
    return int(postgres.ask(settings, asked)[0][0])


def fill(settings: Settings, runs: int) -> None:
    """Add finished runs of ``cpu``, and wait until autovacuum has made statistics of them."""
    columns = {
        name: postgres.ask(
            settings,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :'name'",
            name=name,
        )
        for name in COPIED
    }
    copies = "".join(copy(name, found) for name, found in columns.items())
    postgres.ask(settings, PATTERNS + copies + SEQUENCE, runs=str(runs))
    ((filled,),) = postgres.ask(settings, "SELECT clock_timestamp()")

    def is_known() -> bool:
        asked = """SELECT count(*) FROM pg_stat_user_tables
            WHERE relname = ANY (string_to_array(:'names', ',')) AND last_autoanalyze > :'filled'"""
        known = postgres.ask(settings, asked, names=",".join(COPIED), filled=filled)
        return known == [[str(len(COPIED))]]

    if not wait_until(is_known, STATISTICS_PATIENCE):
        sys.exit("autovacuum has made no statistics of the new rows")


# Each finished run once per copy: what it is called and when it was are shifted, the rest is as it was.
PATTERNS = """
CREATE TEMPORARY TABLE pattern AS
  SELECT id, run_id, split_part(run_id, '.', 1) AS start, row_number() OVER (ORDER BY id) AS number,
    count(*) OVER () AS patterns
  FROM dag_run WHERE dag_id = 'cpu' AND state = 'success' AND run_id LIKE '%.cpu-%';
CREATE TEMPORARY TABLE made AS
  SELECT pattern.*, copy, copy * interval '5 minutes' AS earlier,
    to_char(now() - copy * interval '5 minutes', 'YYYYMMDD-HH24MISS') || '-' || substr(md5(copy::text), 1, 6)
      AS new_start,
    (SELECT max(id) FROM dag_run) + (copy - 1) * patterns + number AS new_id
  FROM pattern, generate_series(1, :runs / (SELECT count(*) FROM pattern) + 1) AS copy
  ORDER BY copy DESC, number LIMIT :runs;
"""
SEQUENCE = "SELECT setval(pg_get_serial_sequence('dag_run', 'id'), (SELECT max(id) FROM dag_run));\n"


def copy(table: str, columns: list[list[str]]) -> str:
    """The statement that copies a table's rows of the patterns."""
    values = {name: value(table, name, kind) for name, kind in columns}
    chosen = {name: said for name, said in values.items() if said}
    same = "old.id = made.id" if table == "dag_run" else "old.dag_id = 'cpu' AND old.run_id = made.run_id"
    return (
        f"INSERT INTO {table} ({', '.join(chosen)}) SELECT {', '.join(chosen.values())} "  # noqa: S608
        f"FROM made JOIN {table} AS old ON {same} ORDER BY made.new_id;\n"
    )


def value(table: str, column: str, kind: str) -> str:
    """What a column of a copied row is; empty where the database chooses."""
    if (table, column) == ("dag_run", "id") or column == "dag_run_id":
        return "made.new_id"
    if (table, column) == ("log", "id"):
        return ""
    if kind == "uuid" and column in ("id", "task_instance_id"):
        return f"md5(old.{column}::text || made.copy)::uuid"
    if kind.startswith("timestamp"):
        return f"old.{column} - made.earlier"
    if kind in ("character varying", "text", "json", "jsonb"):
        return f"replace(old.{column}::text, made.start, made.new_start)::{kind}"
    return f"old.{column}"


def table(before: Cost, after: Cost) -> str:
    """Before, after and the ratio."""
    heading = f"{'':<34}{'before':>10}{'after':>10}{'ratio':>8}"
    rows = {"seconds per cycle, median": (before.typical, after.typical)}
    rows["CPU seconds per cycle"] = (before.work, after.work)
    rows |= {f"  of them {name}": (before.cpu[name], after.cpu[name]) for name in before.cpu}
    lines = [f"{name:<34}{was:10.3f}{now:10.3f}{now / was:8.2f}" for name, (was, now) in rows.items()]
    return "\n".join([heading, *lines])


if __name__ == "__main__":
    main()

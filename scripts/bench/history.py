"""Measure what a cycle costs without a history, and with many finished DAG runs in Airflow's database.

Two temporary stacks run one CPU in turns, with one cycle per pod: on a machine with other work, an earlier
and a later measurement on one stack would differ by more than the effect. In one of the two, every finished
run of ``cpu`` is first copied many times, with all that the database keeps of it (task instances, XComs,
audit log); each copy belongs to a start run of its own, a little further in the past. ANALYZE is left to
PostgreSQL's autovacuum, as in a stack that has really run so many cycles; measuring begins after that.

Measuring begins when the CPU has run some cycles, and ends when it has run as many more as asked for. Those
that it runs until that is noticed count as well. Then the CPU is stopped.

Seconds are from one cycle's DAG run to the next one's. CPU seconds are those of a component's processes, with
all that they have started.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from scripts.airflow_api import Api
from scripts.bench.cpu_time import CpuMeter
from scripts.bench.cycles import program
from scripts.bench.runs import cancel
from scripts.bench.stacks import temporary_stack, wait_or_exit
from scripts.command import run_command
from scripts.local.passwords import passwords
from scripts.local.services import postgres
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import Settings
from scripts.progress import with_progress_bar

COPIED = ("dag_run", "task_instance", "xcom", "log")
"""The tables that keep rows of a finished run, each after those that it refers to.

Rendered fields are left out: Airflow keeps those of a task's last 30 runs only.
"""
COMPONENTS = ("api-server", "scheduler", "worker", "triggerer", "postgres")
"""The components whose work grows with the cycles."""
WARM_UP = 5
"""Cycles that are not measured: the first ones fill caches."""
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Cost:
    """What some cycles cost."""

    seconds: list[float]
    """Of each cycle."""
    cpu: dict[str, float]
    """CPU seconds of all cycles, by component."""
    pages: int
    """Pages of the database that all cycles have accessed: other work on the machine does not affect this."""

    @property
    def median_seconds(self) -> float:
        """The median of the seconds per cycle."""
        return median(self.seconds)

    def cpu_per_cycle(self, *names: str) -> float:
        """Return the CPU seconds per cycle of these components together."""
        return sum(self.cpu[name] for name in names) / len(self.seconds)

    @property
    def pages_per_cycle(self) -> float:
        """Pages of the database per cycle."""
        return self.pages / len(self.seconds)

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of the cycles of both."""
        cpu = {name: self.cpu[name] + other.cpu[name] for name in self.cpu}
        return Cost(self.seconds + other.seconds, cpu, self.pages + other.pages)


def main(arguments: Sequence[str] | None = None) -> None:
    """Add the history to one stack, measure both and print the comparison."""
    options = parse(arguments)
    with temporary_stack() as short, temporary_stack() as long:
        for settings in (short, long):
            measure(settings, options.cycles)
        size = database_size(long)
        fill(long, options.runs)
        grown = (database_size(long) - size) / options.runs
        before, after = measure(short, options.cycles), measure(long, options.cycles)
        for _ in with_progress_bar(range(options.rounds - 1), "further rounds"):
            before += measure(short, options.cycles)
            after += measure(long, options.cycles)
        print(table(before, after))
        print(f"{len(before.seconds)} and {len(after.seconds)} cycles, in {options.rounds} rounds")
        print(f"{count(short)} and {count(long)} finished runs at the end, {grown / 1024:.1f} KiB each")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 success, 1 a stack fails or a CPU makes no progress, 2 wrong options, 130 "
        "interrupted",
    )
    parser.add_argument("--runs", type=int, default=50_000, help="finished runs to add (50000)")
    parser.add_argument(
        "--cycles", type=int, default=60, help="cycles to measure in each round, at least (60)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure each stack (3)")
    options = parser.parse_args(arguments)
    if min(options.runs, options.cycles, options.rounds) < 1:
        parser.error("--runs, --cycles and --rounds are 1 or more")
    return options


def measure(settings: Settings, cycles: int) -> Cost:
    """Measure so many cycles of one CPU, after some that warm up."""
    with Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api:
        return _measure(settings, api, cycles)


def _measure(settings: Settings, api: Api, cycles: int) -> Cost:
    run_id = api.trigger("cpu_start", {"program": program(cpus=1), "parts": "part 1"})["dag_run_id"]
    wait_or_exit(
        lambda: api.is_success("cpu_start", run_id, "start_cpus"),
        PATIENCE_SECONDS,
        "cpu_start does not start its CPU",
    )
    start = str(api.xcom("cpu_start", run_id, "store")["start"])

    def begun() -> list[datetime]:
        query = """SELECT created_at FROM dag_run
            WHERE dag_id = 'cpu' AND run_id BETWEEN :'prefix' AND :'prefix' || '~' ORDER BY id"""
        rows = postgres.query(settings, query, prefix=f"{start}.cpu-0.")
        return [datetime.fromisoformat(time) for (time,) in rows]

    wait_or_exit(lambda: len(begun()) > WARM_UP, PATIENCE_SECONDS, "the first cycles do not begin")
    meter, pages_before = CpuMeter(settings), pages_accessed(settings)
    first = len(begun()) - 1
    wait_or_exit(lambda: len(begun()) > first + cycles, PATIENCE_SECONDS, "the last cycle does not begin")
    used, pages_after = meter.seconds(), pages_accessed(settings)
    times = begun()[first:]
    cancel(api, "cpu", start, PATIENCE_SECONDS)
    seconds = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    return Cost(seconds, {name: used[name] for name in COMPONENTS}, pages_after - pages_before)


def pages_accessed(settings: Settings) -> int:
    """Return how many pages of tables and indexes PostgreSQL has accessed so far, in memory or on disk."""
    return int(postgres.query(settings, PAGES)[0][0])


def database_size(settings: Settings) -> int:
    """Return the size in bytes of the copied tables, with their indexes."""
    total = " + ".join(f"pg_total_relation_size('{name}')" for name in COPIED)
    return int(postgres.query(settings, f"SELECT {total}")[0][0])


def count(settings: Settings) -> int:
    """Return how many runs of ``cpu`` have ended."""
    query = "SELECT count(*) FROM dag_run WHERE dag_id = 'cpu' AND state IN ('success', 'failed')"
    return int(postgres.query(settings, query)[0][0])


def fill(settings: Settings, runs: int) -> None:
    """Add finished runs of ``cpu``, and wait until the statistics are updated and all is on the disk."""
    columns = {
        name: postgres.query(
            settings,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :'name'",
            name=name,
        )
        for name in COPIED
    }
    copies = "".join(copy_statement(name, rows) for name, rows in columns.items())
    postgres.query(settings, PATTERNS + copies + SEQUENCE, runs=str(runs))
    ((filled,),) = postgres.query(settings, "SELECT clock_timestamp()")

    def are_analyzed() -> bool:
        query = """SELECT count(*) FROM pg_stat_user_tables
            WHERE relname = ANY (string_to_array(:'names', ',')) AND last_autoanalyze > :'filled'"""
        analyzed = postgres.query(settings, query, names=",".join(COPIED), filled=filled)
        return analyzed == [[str(len(COPIED))]]

    wait_or_exit(are_analyzed, PATIENCE_SECONDS, "autovacuum does not analyze the new rows")
    # Otherwise PostgreSQL writes the copies to the disk for minutes, while commits wait for the same disk.
    postgres.query(settings, "CHECKPOINT")


# A row for each copy of each finished run, with its new name and time. Foreign keys are not checked
# (session_replication_role): the copies keep them right, and the check of each row would take minutes.
PATTERNS = """
SET session_replication_role = replica;
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
PAGES = """
SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))
  FROM pg_statio_user_tables
"""
SEQUENCE = "SELECT setval(pg_get_serial_sequence('dag_run', 'id'), (SELECT max(id) FROM dag_run));\n"


def copy_statement(table: str, columns: list[list[str]]) -> str:
    """Return the SQL statement that copies a table's rows; a column is its name and type."""
    expressions = {name: expression(table, name, kind) for name, kind in columns}
    given = {name: sql for name, sql in expressions.items() if sql}
    same = "old.id = made.id" if table == "dag_run" else "old.dag_id = 'cpu' AND old.run_id = made.run_id"
    return (
        f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())} "  # noqa: S608
        f"FROM made JOIN {table} AS old ON {same} ORDER BY made.new_id;\n"
    )


def expression(table: str, column: str, kind: str) -> str:
    """Return the SQL expression for a column of a copied row; "" if the database sets it."""
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
    """Return both costs and their ratios as a table."""
    heading = f"{'':<34}{'before':>10}{'after':>10}{'ratio':>8}"
    rows = {"seconds per cycle, median": (before.median_seconds, after.median_seconds)}
    rows["CPU seconds per cycle"] = (before.cpu_per_cycle(*COMPONENTS), after.cpu_per_cycle(*COMPONENTS))
    rows |= {
        f"  of them {name}": (before.cpu_per_cycle(name), after.cpu_per_cycle(name)) for name in COMPONENTS
    }
    rows["pages of the database per cycle"] = (before.pages_per_cycle, after.pages_per_cycle)
    lines = [f"{name:<34}{old:10.3f}{new:10.3f}{ratio(old, new)}" for name, (old, new) in rows.items()]
    return "\n".join([heading, *lines])


def ratio(old: float, new: float) -> str:
    """Return the ratio as a column; empty if there is none: PodExecutor's cycles have no worker."""
    return f"{new / old:8.2f}" if old else ""


if __name__ == "__main__":
    sys.exit(run_command(main))

"""What a cycle costs with next to no history, and with many finished DAG runs in it.

Two stacks of its own run one CPU in turns, at one cycle per pod: on a machine that does other things too,
what came first and what came later would differ by more than is looked for. In one of them, every finished
run of ``cpu`` is copied before, again and again, with all that the database keeps of it (task instances,
XComs, audit log), each copy under a start run's name of its own, a little further in the past. Nobody runs
ANALYZE: it waits until PostgreSQL's autovacuum has seen the new rows, as in a stack that came to so many.

Seconds are from one cycle's DAG run to the next one's; CPU seconds are those of the component's processes and
of all that they have started.
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
from scripts.bench.stacks import cpu_seconds, stack, until
from scripts.command import ended
from scripts.local.passwords import passwords
from scripts.local.services import postgres
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import Settings
from scripts.progress import counted

COPIED = ("dag_run", "task_instance", "xcom", "log")
"""The tables that keep rows of a finished run, each after those it refers to: rendered fields are kept of a
task's last 30 runs only."""
COUNTED = ("api-server", "scheduler", "triggerer", "postgres")
"""Those whose work grows with the cycles; the tasks are the scheduler's children."""
BEGIN = 5
"""Cycles that do not count: the first ones warm things up."""
PATIENCE = 600.0


@dataclass(frozen=True)
class Cost:
    """What cycles cost: the seconds of each; and of all the CPU seconds by component, and the pages of the
    database that were looked at, in which what else the machine does has no part.
    """

    seconds: list[float]
    cpu: dict[str, float]
    pages: int

    @property
    def typical(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    def work(self, *names: str) -> float:
        """The CPU seconds per cycle of these components."""
        return sum(self.cpu[name] for name in names) / len(self.seconds)

    @property
    def looks(self) -> float:
        """The pages per cycle."""
        return self.pages / len(self.seconds)

    def __add__(self, other: Cost) -> Cost:
        """Of more cycles."""
        cpu = {name: self.cpu[name] + other.cpu[name] for name in self.cpu}
        return Cost(self.seconds + other.seconds, cpu, self.pages + other.pages)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill one stack, measure both and print."""
    options = parse(arguments)
    with stack() as short, stack() as long:
        for one in (short, long):
            measure(one, options.cycles)
        size = database_size(long)
        fill(long, options.runs)
        grown = (database_size(long) - size) / options.runs
        before, after = measure(short, options.cycles), measure(long, options.cycles)
        for _ in counted(range(options.rounds - 1), "measuring again"):
            before += measure(short, options.cycles)
            after += measure(long, options.cycles)
        print(table(before, after))
        print(f"{len(before.seconds)} and {len(after.seconds)} cycles, in {options.rounds} turns")
        print(f"{count(short)} and {count(long)} finished runs at the end, {grown / 1024:.1f} KiB each")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.history", description=__doc__, formatter_class=raw
    )
    parser.epilog = "exit code: 0 it is measured, 1 the stack failed, 130 interrupted"
    parser.add_argument("--runs", type=int, default=50_000, help="how many finished runs to add (50000)")
    parser.add_argument("--cycles", type=int, default=15, help="how many cycles to measure each time (15)")
    parser.add_argument("--rounds", type=int, default=3, help="how many times to measure each stack (3)")
    options = parser.parse_args(arguments)
    if min(options.runs, options.cycles, options.rounds) < 1:
        parser.error("--runs, --cycles and --rounds are 1 or more")
    return options


def measure(settings: Settings, cycles: int) -> Cost:
    """Have one CPU run for so many cycles, and some before them."""
    with Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api:
        return measured(settings, api, cycles)


def measured(settings: Settings, api: Api, cycles: int) -> Cost:
    """The same, by this client of Airflow's."""
    lines = BEGIN + cycles
    run = api.trigger("cpu_start", {"program": "acc +1\n" * lines + f"jmp -{lines}\n", "parts": "part 1"})
    run_id = run["dag_run_id"]
    until(lambda: api.run("cpu_start", run_id)["state"] == "success", "cpu_start does not succeed", PATIENCE)
    start = str(api.xcom("cpu_start", run_id, "store")["start"])

    def begun() -> list[datetime]:
        asked = """SELECT created_at FROM dag_run
            WHERE dag_id = 'cpu' AND run_id BETWEEN :'prefix' AND :'prefix' || '~' ORDER BY id"""
        found = postgres.ask(settings, asked, prefix=f"{start}.cpu-0.")
        return [datetime.fromisoformat(when) for (when,) in found]

    until(lambda: len(begun()) > BEGIN, "the first cycles do not come", PATIENCE)
    work, pages = cpu_seconds(settings, COUNTED), pages_seen(settings)
    first = len(begun()) - 1
    until(lambda: len(begun()) >= lines, "the last cycle does not come", PATIENCE)
    spent, seen = cpu_seconds(settings, COUNTED), pages_seen(settings)
    moments = begun()[first:]
    until(lambda: api.count_runs("cpu", state=["queued", "running"]) == 0, "the CPU does not stop", PATIENCE)
    seconds = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    return Cost(seconds, {name: spent[name] - work[name] for name in COUNTED}, seen - pages)


def pages_seen(settings: Settings) -> int:
    """How many pages of tables and indexes PostgreSQL has looked at until now, in memory or on disk."""
    return int(postgres.ask(settings, PAGES)[0][0])


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

    until(is_known, "autovacuum has made no statistics of the new rows", PATIENCE)


# Each finished run once per copy: what it is called and when it was are shifted, the rest is as it was.
# What refers to what is right by itself: to look it up again for every row would take minutes.
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
    rows["CPU seconds per cycle"] = (before.work(*COUNTED), after.work(*COUNTED))
    rows |= {f"  of them {name}": (before.work(name), after.work(name)) for name in COUNTED}
    rows["pages of the database per cycle"] = (before.looks, after.looks)
    lines = [f"{name:<34}{was:10.3f}{now:10.3f}{now / was:8.2f}" for name, (was, now) in rows.items()]
    return "\n".join([heading, *lines])


if __name__ == "__main__":
    sys.exit(ended(main))

"""What a cycle costs: the article's design, ours, and a bare client of Kubernetes, which is the limit.

    make bench
    python -m scripts.bench.cycles --kubeconfig ~/.kube/config --image cpu:dev --pods-reach-host-at 192.0.2.7

On one stack of the benchmark's own, the three run the same program of one cycle per pod in turns: first one
CPU, then many beside one another. Each turn begins when its CPUs have run some cycles already.

- seconds: from one cycle's DAG run to the same CPU's next one; of the bare client, from result to result;
- what the seconds go to: the scheduler, until the task that has a pod is queued, or handed over to the
  triggerer (of the article's design, its branch on the first cycle too); the worker, until the pod is
  created; the pod, until its container has ended, as a watcher of all pods saw it; the next run, until
  it is there (of the article's design, the branch on the result too). Of many CPUs, whose pods are
  waited for in the triggerer: the triggerer, until the pod is created and from its end until its result
  is handed back, and the worker, which takes it and triggers the next run;
- rate: cycles of all CPUs in a second;
- CPU seconds per cycle: of Airflow's processes and PostgreSQL, with all that they started; those of the local
  Kubernetes endpoint and its pods are told apart from them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from scripts.airflow_api import Api
from scripts.bench import bare
from scripts.bench.picture import draw
from scripts.bench.stacks import cpu_seconds, stack, until
from scripts.bench.watcher import Cycle, Watcher, watching
from scripts.command import ended
from scripts.local.passwords import passwords
from scripts.local.services import postgres
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY, Settings

COUNTED = ("api-server", "dag-processor", "scheduler", "triggerer", "postgres")
KUBERNETES = "kubernetes"
ENDPOINT = (KUBERNETES,)
"""The local endpoint, where there is one."""
DESIGNS = ("bare", "ours", "article")
LENGTH = 5000
"""Instructions before the ones that can be swapped: no CPU comes to them."""
PATIENCE = 900.0
RUNS = """
SELECT dag_run.run_id, extract(epoch FROM dag_run.created_at), extract(epoch FROM task.scheduled_dttm),
    extract(epoch FROM task.queued_dttm), extract(epoch FROM task.start_date)
FROM dag_run LEFT JOIN task_instance AS task
    ON task.dag_id = dag_run.dag_id AND task.run_id = dag_run.run_id AND task.task_id = 'execute'
WHERE dag_run.dag_id = :'dag' AND dag_run.run_id LIKE :'start' || '.cpu-%' ORDER BY dag_run.id
"""


@dataclass(frozen=True)
class Turn:
    """What one turn came to. Times are in seconds, and per cycle."""

    design: str
    cpus: int
    seconds: list[float]
    rate: float
    cpu: dict[str, float]
    phases: dict[str, float]
    pod_cpu: float

    @property
    def typical(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    @property
    def work(self) -> float:
        """CPU seconds of the orchestrator."""
        return sum(self.cpu.values())


@dataclass(frozen=True)
class Run:
    """A cycle's DAG run: when it was created, and when its task that has a pod was last scheduled, last
    queued, and first started (nan: not yet).
    """

    cycle: Cycle
    created: float
    scheduled: float = math.nan
    queued: float = math.nan
    started: float = math.nan


class Bench:
    """A stack to measure on."""

    def __init__(self, settings: Settings, api: Api, watcher: Watcher) -> None:
        self._settings = settings
        self._api = api
        self._watcher = watcher

    def ours(self, cpus: int, seconds: float, cycles: int) -> Turn:
        """DAG ``cpu``, started as people start it."""
        conf = {"program": program(cpus), "parts": "part 1" if cpus == 1 else "part 2"}
        run = self._api.trigger("cpu_start", conf)["dag_run_id"]
        until(
            lambda: self._api.run("cpu_start", run)["state"] == "success",
            "cpu_start does not succeed",
            PATIENCE,
        )
        start = str(self._api.xcom("cpu_start", run, "store")["start"])
        return self._turn("ours", "cpu", start, cpus, seconds, cycles)

    def article(self, cpus: int, seconds: float, cycles: int) -> Turn:
        """The article's DAG; the program is stored beforehand."""
        start = f"article-{time.time_ns() % 10**9}"
        asyncio.run(bare.store(self._settings, start, program(cpus)))
        for cpu in numbers(cpus):
            conf = {"start": start, "cpu": str(cpu), "cycle": "0"}
            self._api.trigger("article", conf, f"{start}.cpu-{cpu}.cycle-0")
        return self._turn("article", "article", start, cpus, seconds, cycles)

    def bare(self, cpus: int, seconds: float, cycles: int) -> Turn:
        """Only pods."""
        work = cpu_seconds(self._settings, ENDPOINT)
        ended = asyncio.run(bare.moments(self._settings, program(cpus), numbers(cpus), seconds, cycles))
        spent = cpu_seconds(self._settings, ENDPOINT)
        begun, last = min(when for one in ended for when in one), max(when for one in ended for when in one)
        each = [later - earlier for one in ended for earlier, later in pairwise(one)]
        pods = len(each) + len(ended) + 1  # with those that load, and the one that stores
        return Turn(
            "bare",
            cpus,
            each,
            len(each) / (last - begun),
            {},
            {},
            (spent[KUBERNETES] - work[KUBERNETES]) / pods,
        )

    def _turn(self, design: str, dag: str, start: str, cpus: int, seconds: float, cycles: int) -> Turn:
        warm = 3 if cpus == 1 else 1

        def runs() -> list[Run]:
            return [
                Run(cycle_of(run_id), *(float(when or "nan") for when in moments))
                for run_id, *moments in postgres.ask(self._settings, RUNS, dag=dag, start=start)
            ]

        def slowest() -> int:
            """How many cycles the slowest CPU has begun."""
            counts = dict.fromkeys(numbers(cpus), 0)
            for run in runs():
                counts[run.cycle[1]] = max(counts[run.cycle[1]], run.cycle[2])
            return min(counts.values())

        until(lambda: slowest() >= warm, "the first cycles do not come", PATIENCE)
        begun, work = time.time(), cpu_seconds(self._settings, (*COUNTED, *ENDPOINT))
        enough = slowest() + cycles
        until(
            lambda: time.time() - begun >= seconds and slowest() >= enough, "the cycles do not come", PATIENCE
        )
        over, spent = time.time(), cpu_seconds(self._settings, (*COUNTED, *ENDPOINT))
        found = [run for run in runs() if run.created <= over]
        self._cancel(dag, start)
        steps = [step for step in following(found) if step[1].created > begun]
        return Turn(
            design,
            cpus,
            [later.created - earlier.created for earlier, later in steps],
            len(steps) / (over - begun),
            {name: (spent[name] - work[name]) / len(steps) for name in COUNTED},
            self._phases(steps),
            (spent[KUBERNETES] - work[KUBERNETES]) / len(steps),
        )

    def _phases(self, steps: Sequence[tuple[Run, Run]]) -> dict[str, float]:
        created, ended = self._watcher.created, self._watcher.ended
        each = [
            phases(run, created[run.cycle], ended[run.cycle], later.created)
            for run, later in steps
            if run.cycle in created and run.cycle in ended
        ]
        alike = [one for one in each if one.keys() == each[0].keys()]
        return {name: median(one[name] for one in alike) for name in each[0]} if each else {}

    def _cancel(self, dag: str, start: str) -> None:
        """Have the CPUs stop at their next cycle, and wait until they have."""
        self._api.trigger("cpu_cancel", {"start": start})
        until(
            lambda: self._api.count_runs(dag, state=["queued", "running"]) == 0,
            "the CPUs do not stop",
            PATIENCE,
        )


def program(cpus: int) -> str:
    """A program that goes straight on, with as many candidates as CPUs after all that is ever executed."""
    return "acc +1\n" * LENGTH + "nop +0\n" * (cpus - 1) + f"jmp -{LENGTH}\n"


def numbers(cpus: int) -> list[int]:
    """The CPUs of that program: the one that swaps nothing, or one per candidate."""
    return [0] if cpus == 1 else list(range(LENGTH + 1, LENGTH + cpus + 1))


def at_once(cpus: int) -> int:
    """How many the stack lets run: the last runs of a CPU are not over when its next one begins."""
    return 16 if cpus == 1 else min(2 * cpus, 400)


def cycle_of(run_id: str) -> Cycle:
    """Start run, CPU and cycle, by the run's id."""
    start, cpu, cycle = run_id.split(".")[:3]
    return start, int(cpu.removeprefix("cpu-")), int(cycle.removeprefix("cycle-"))


def following(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Each executed cycle's run with the run of the same CPU's next cycle."""
    known = {run.cycle: run for run in runs}
    for run in runs:
        start, cpu, cycle = run.cycle
        later = known.get((start, cpu, cycle + 1))
        if cycle > 0 and later:
            yield run, later


def phases(run: Run, created: float, ended: float, later: float) -> dict[str, float]:
    """What the seconds went to, given when the pod was created, had ended, and the next run was created."""
    if run.scheduled > run.started:  # back from the triggerer
        return {
            "scheduler": run.started - run.created + run.queued - run.scheduled,
            "triggerer": created - run.started + run.scheduled - ended,
            "pod": ended - created,
            "worker": later - run.queued,
        }
    return {
        "scheduler": run.queued - run.created,
        "worker": created - run.queued,
        "pod": ended - created,
        "next run": later - ended,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and leave the numbers and a picture."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the stack is to go in any case
    if options.sidecar:
        os.environ["AIRFLOW_VAR_SIDECAR_IMAGE"] = options.sidecar
    turns: list[Turn] = []
    with dags() as folder:
        where = [f"--dags={folder}", *of_cluster(options)]
        for cpus in options.cpus:
            with (
                stack(*where, f"--cpus-at-once={at_once(cpus)}") as settings,
                watching(settings) as watcher,
                Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api,
            ):
                bench = Bench(settings, api, watcher)
                for design in options.designs:
                    cycles, seconds = (options.cycles, 0.0) if cpus == 1 else (1, options.seconds)
                    turns.append(getattr(bench, design)(cpus, seconds, cycles))
                    print(line(turns[-1]), file=sys.stderr, flush=True)
    print(table(turns))
    if options.json:
        options.json.write_text(json.dumps([asdict(turn) for turn in turns], indent=1) + "\n")
    if options.picture:
        draw(turns, options.picture)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.cycles",
        description=__doc__,
        formatter_class=raw,
        epilog="exit code: 0 measured, 1 something does not come or the stack fails, 2 wrong options, 130 "
        "interrupted",
    )
    parser.add_argument("--cycles", type=int, default=20, help="how many of one CPU, at least (20)")
    parser.add_argument(
        "--cpus", type=int, nargs="+", default=[1, 32], help="how many beside one another (1, then 32)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long, at least (60)")
    parser.add_argument(
        "--designs", nargs="+", choices=DESIGNS, default=DESIGNS, help="in this order (all of them)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="leave the numbers there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="leave a picture there (.svg, .png)")
    parser.add_argument("--kubeconfig", type=Path, help="a real cluster to have the pods on")
    parser.add_argument("--context", help="the context to use of it")
    parser.add_argument("--image", help="the image, as that cluster knows it")
    parser.add_argument(
        "--sidecar", metavar="IMAGE", help="of the article's design, as that cluster knows it (alpine)"
    )
    parser.add_argument("--pods-reach-host-at", metavar="ADDRESS", help="this machine, as its pods see it")
    options = parser.parse_args(arguments)
    if options.cycles < 1 or min(options.cpus) < 1 or options.seconds < 1:
        parser.error("--cycles, --cpus and --seconds are 1 or more")
    return options


def of_cluster(options: argparse.Namespace) -> list[str]:
    """The options that the stack takes too."""
    names = ("kubeconfig", "context", "image", "pods_reach_host_at")
    given = {name: getattr(options, name) for name in names}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value]


@contextlib.contextmanager
def dags() -> Iterator[Path]:
    """A folder with the project's DAGs and the article's."""
    with tempfile.TemporaryDirectory(prefix="cpu-bench-dags-") as made:
        folder = Path(made).resolve()
        for name, source in (("ours", REPOSITORY / "dags"), ("article", Path(__file__).parent / "article")):
            (folder / name).symlink_to(source)
        yield folder


def line(turn: Turn) -> str:
    """A turn in a line."""
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in turn.phases.items())
    return (
        f"{turn.design:<8}{turn.cpus:>4} CPUs {turn.typical:8.2f} s per cycle ({phases or 'the pod'})"
        f"{turn.rate:8.2f} cycles/s {turn.work:8.3f} CPU s per cycle"
    )


def table(turns: Sequence[Turn]) -> str:
    """All turns, and then how they compare."""
    lines = []
    for turn in turns:
        lines.append(line(turn))
        used = {**turn.cpu, "(local endpoint)": turn.pod_cpu}
        lines += [f"    {name:<16}{seconds:8.3f} CPU s" for name, seconds in used.items()]
    return "\n".join([*lines, *ratios(turns)])


def ratios(turns: Sequence[Turn]) -> list[str]:
    """Ours against the limit and against the article's, for each number of CPUs that was measured."""
    lines = []
    for cpus in sorted({turn.cpus for turn in turns}):
        of = {turn.design: turn for turn in turns if turn.cpus == cpus}
        if ours := of.get("ours"):
            if bare := of.get("bare"):
                lines.append(
                    f"{cpus:4} CPUs: {ours.typical / bare.typical:.2f} times the bare client's seconds, "
                    f"{ours.rate / bare.rate:.2f} times its rate"
                )
            if article := of.get("article"):
                lines.append(
                    f"{cpus:4} CPUs: the article's design takes {article.typical / ours.typical:.1f} times "
                    f"the seconds, {article.work / ours.work:.1f} times the CPU seconds; ours has "
                    f"{ours.rate / article.rate:.1f} times its rate"
                )
    return lines


if __name__ == "__main__":
    sys.exit(ended(main))

"""Measure what a cycle costs in our design, in others, and with a bare client, which is the limit.

    make bench
    python -m scripts.bench.cycles --kubeconfig ~/.kube/config --image cpu:dev --pods-reach-host-at 192.0.2.7

On one temporary stack, each design in turn runs the same program with one cycle per pod: first one CPU, then
many at once. Measuring begins after the CPUs have run some cycles. The quickest possible run:
--cpus 1 --cycles 1. The designs:

- bare: a client that only creates a pod, watches it, takes its result and deletes it;
- job: a plain Kubernetes Job with as many pods at once as CPUs, whose pods all execute the same cycle; only
  on a real cluster, as the local endpoint has no Jobs;
- ours: DAG `cpu`;
- article: the article's DAG, with a sidecar for the result and a task for each decision;
- stock, stock-deferrable: Airflow's KubernetesPodOperator as its documentation sets it up, and with
  deferrable=True: one task for the pod, without a result, and one that triggers the next run.

What is measured:

- seconds: from one cycle's DAG run to the same CPU's next one; of the bare client, from result to result; of
  a Job, from a pod's end to that of the pod that is as many pods later as run at once;
- what the seconds are spent on: the scheduler, until the task that has a pod is queued or passed to the
  triggerer (of the article's design, including its branch on the first cycle); the worker, until the pod is
  created; the pod, until its container has ended, as a watcher of all pods sees it; the next run, until it is
  created (of the article's design, including the branch on the result). With many CPUs the triggerer waits
  for the pods: then the triggerer's time is until the pod is created, and from its end until its result is
  passed to the worker, which takes it and triggers the next run (in stock-deferrable, workers create the pod
  and trigger the next run; both is the worker's time);
- rate: cycles of all CPUs per second;
- CPU seconds per cycle: of Airflow's processes and PostgreSQL, with all that they have started, living or
  ended; of a client, its own. Each component is listed, also those that are not in this sum: Redis,
  the local Kubernetes endpoint (kubernetes), its pods, housekeeping and supervisord. A worker is a process
  that the scheduler has forked. What a real cluster uses is not measured.

--json writes an object with two entries. `turns` lists all numbers of each design with each number of CPUs.
`summary` has the main ones for programs to read, by stack (`local`: the local endpoint; `cluster`: a real
one), design and number of CPUs; its seconds are the median:

    {"local": {"ours": {"1": {"seconds_per_cycle": …, "cycles_per_second": …, "cpu_seconds_per_cycle": …}}}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median

from scripts.airflow_api import Api
from scripts.bench import bare, job
from scripts.bench.cpu_time import CpuMeter
from scripts.bench.picture import draw
from scripts.bench.runs import Run, cancel, pairs, phases, runs_of
from scripts.bench.stacks import (
    add_cluster_options,
    add_design_options,
    cluster_options,
    dags,
    leave_out,
    print_left_out,
    temporary_stack,
    wait_or_exit,
)
from scripts.bench.turns import DESIGNS, Turn, line, summary, table
from scripts.bench.watcher import Watcher, watching
from scripts.command import run_command
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import Settings

BESIDE_AIRFLOW = ("redis", "kubernetes", "pods")
"""The components that work for a client too; those of the local endpoint only if the stack has one."""
DEFAULT_DESIGNS = ("bare", "ours", "article")
LENGTH = 5000
"""Instructions before the candidates: no CPU reaches those."""
PATIENCE_SECONDS = 900.0


class Bench:
    """A stack to measure on."""

    def __init__(self, settings: Settings, api: Api, watcher: Watcher) -> None:
        self._settings = settings
        self._api = api
        self._watcher = watcher

    def measure(self, design: str, cpus: int, seconds: float, cycles: int) -> Turn:
        """Measure a design with so many CPUs, for so many seconds and cycles of each CPU at least."""
        if design == "bare":
            return self._bare(cpus, seconds, cycles)
        if design == "job":
            return self._job(cpus, seconds, cycles)
        if design == "ours":
            return self._dag("ours", "cpu", self._start_ours(cpus), cpus, seconds, cycles)
        return self._dag(design, design, self._start_other(design, cpus), cpus, seconds, cycles)

    def _start_other(self, dag: str, cpus: int) -> str:
        """Start the CPUs in a DAG whose runs trigger one another; return the name of the start run."""
        start = f"{dag}-{time.time_ns() % 10**9}"
        # The article's DAG loads its CPUs itself.
        first, loaded = ("0", []) if dag == "article" else ("1", numbers(cpus))
        asyncio.run(bare.store(self._settings, start, program(cpus), loaded))
        for cpu in numbers(cpus):
            conf = {"start": start, "cpu": str(cpu), "cycle": first}
            self._api.trigger(dag, conf, f"{start}.cpu-{cpu}.cycle-{first}")
        return start

    def _start_ours(self, cpus: int) -> str:
        """Start DAG ``cpu`` as people start it; return the name of the start run."""
        conf = {"program": program(cpus), "parts": "part 1" if cpus == 1 else "part 2"}
        run = self._api.trigger("cpu_start", conf)["dag_run_id"]
        wait_or_exit(
            lambda: self._api.is_success("cpu_start", run, "start_cpus"),
            PATIENCE_SECONDS,
            "cpu_start does not start its CPUs",
        )
        return str(self._api.xcom("cpu_start", run, "store")["start"])

    def _job(self, cpus: int, seconds: float, cycles: int) -> Turn:
        """Measure a Kubernetes Job."""
        found = asyncio.run(job.measure(self._settings, program(cpus), cpus, seconds, cycles * cpus))
        each = found.seconds_per_pod(cpus)
        cpu = {"client": found.client_seconds / len(found.ends)}
        return Turn("job", cpus, each, len(each) / (found.ends[-1] - found.ends[cpus - 1]), cpu, {})

    def _bare(self, cpus: int, seconds: float, cycles: int) -> Turn:
        """Measure a client that only runs pods."""
        meter, began = CpuMeter(self._settings), time.thread_time()
        times = asyncio.run(bare.result_times(self._settings, program(cpus), numbers(cpus), seconds, cycles))
        used = {"client": time.thread_time() - began} | meter.seconds()
        each = [later - earlier for of_cpu in times for earlier, later in pairwise(of_cpu)]
        pods = len(each) + len(times) + 1  # with those that load, and the one that stores
        duration = max(map(max, times)) - min(map(min, times))
        cpu = {name: used[name] / pods for name in ("client", *BESIDE_AIRFLOW) if name in used}
        return Turn("bare", cpus, each, len(each) / duration, cpu, {})

    def _dag(self, design: str, dag: str, start: str, cpus: int, seconds: float, cycles: int) -> Turn:
        """Measure running CPUs, for so many seconds and cycles of each at least, and then stop them."""

        def slowest() -> int:
            """Return how many cycles the slowest CPU has begun."""
            begun = dict.fromkeys(numbers(cpus), 0)
            for run in runs_of(self._settings, dag, start):
                _, cpu, cycle = run.cycle
                begun[cpu] = max(begun[cpu], cycle)
            return min(begun.values())

        warm_up = 3 if cpus == 1 else 1
        wait_or_exit(lambda: slowest() >= warm_up, PATIENCE_SECONDS, "the first cycles do not begin")
        began, meter = time.time(), CpuMeter(self._settings)
        enough = slowest() + cycles
        wait_or_exit(
            lambda: time.time() - began >= seconds and slowest() >= enough,
            PATIENCE_SECONDS,
            f"some CPU does not reach cycle {enough}",
        )
        over, used = time.time(), meter.seconds()
        runs = [run for run in runs_of(self._settings, dag, start) if run.created <= over]
        cancel(self._api, dag, start, PATIENCE_SECONDS)
        steps = [(run, following) for run, following in pairs(runs) if following.created > began]
        cpu = {name: seconds / len(steps) for name, seconds in used.items()}
        each = [following.created - run.created for run, following in steps]
        return Turn(
            design,
            cpus,
            each,
            len(steps) / (over - began),
            cpu,
            self._phases(steps, creator="triggerer" if design == "ours" else "worker"),
        )

    def _phases(self, steps: Sequence[tuple[Run, Run]], creator: str) -> dict[str, float]:
        """Return the medians of the phases, over the cycles whose pod the watcher has seen."""
        created, ended = self._watcher.created, self._watcher.ended
        each = [
            phases(run, created[run.cycle], ended[run.cycle], following.created, creator)
            for run, following in steps
            if run.cycle in created and run.cycle in ended
        ]
        # A worker may have waited for some pods and the triggerer for others: those phases do not compare.
        comparable = [one for one in each if one.keys() == each[0].keys()]
        return {name: median(one[name] for one in comparable) for name in each[0]} if each else {}


def program(cpus: int) -> str:
    """Return a program without jumps, followed by as many candidates as CPUs, which no CPU reaches."""
    return "acc +1\n" * LENGTH + "nop +0\n" * (cpus - 1) + f"jmp -{LENGTH}\n"


def numbers(cpus: int) -> list[int]:
    """Return the numbers of that program's CPUs: the unswapped one, or one per candidate."""
    return [0] if cpus == 1 else list(range(LENGTH + 1, LENGTH + cpus + 1))


def at_once(cpus: int) -> int:
    """Return how many runs the stack must allow: a CPU's last runs may still end when its next one begins."""
    return 16 if cpus == 1 else min(2 * cpus, 400)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the results, and write them as JSON and as a picture if asked to."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the stack is removed in any case
    if options.sidecar:
        os.environ["AIRFLOW_VAR_SIDECAR_IMAGE"] = options.sidecar
    turns: list[Turn] = []
    with dags() as folder:
        stack_options = [f"--dags={folder}", *cluster_options(options)]
        for cpus in options.cpus:
            with (
                temporary_stack(*stack_options, f"--cpus-at-once={at_once(cpus)}") as settings,
                watching(settings) as watcher,
                Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api,
            ):
                bench = Bench(settings, api, watcher)
                for design in options.designs:
                    cycles, seconds = (options.cycles, 0.0) if cpus == 1 else (1, options.seconds)
                    turns.append(bench.measure(design, cpus, seconds, cycles))
                    print(line(turns[-1]), file=sys.stderr, flush=True)
    print(table(turns))
    print_left_out(options)
    if options.json:
        stack = "cluster" if options.kubeconfig else "local"
        report = {"summary": summary(stack, turns), "turns": [asdict(turn) for turn in turns]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.picture:
        draw(turns, options.picture)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.cycles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 success, 1 the stack fails or a CPU makes no progress, 2 wrong options, 130 "
        "interrupted",
    )
    parser.add_argument("--cycles", type=int, default=20, help="cycles to measure of one CPU, at least (20)")
    parser.add_argument(
        "--cpus", type=int, nargs="+", default=[1, 32], help="numbers of CPUs to measure with (1, then 32)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long to measure many CPUs, at least (60)"
    )
    add_design_options(parser, DESIGNS, DEFAULT_DESIGNS)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a picture (.svg, .png)")
    add_cluster_options(parser)
    parser.add_argument(
        "--sidecar", metavar="IMAGE", help="the sidecar's image in the article's design (alpine)"
    )
    options = parser.parse_args(arguments)
    if options.cycles < 1 or min(options.cpus) < 1 or options.seconds < 1:
        parser.error("--cycles, --cpus and --seconds are 1 or more")
    leave_out(parser, options)
    return options


if __name__ == "__main__":
    sys.exit(run_command(main))

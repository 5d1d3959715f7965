"""Measure many pods side by side: a set of pods in one task, others' designs, and a bare client, the limit.

    python -m scripts.bench.sets --pods 300
    python -m scripts.bench.sets --kubeconfig ~/.kube/config --image cpu:dev --pods-reach-host-at 192.0.2.7

On one temporary stack, each design in turn runs the same pod many times, with as many in flight as asked for.
Each pod executes a cycle that has been executed before: it finds the result in Redis and returns it. Each
design runs a pod before it is measured. The designs:

- bare: a client that creates the pods, watches them all by one watch, takes their results, and deletes them
  by one request at the end;
- job: a plain Kubernetes Job with as many completions; only on a real cluster, as the local endpoint has no
  Jobs;
- ours: one task of our pod operator, with `count` and `parallelism`;
- stock, stock-deferrable: Airflow's KubernetesPodOperator mapped over a list with an entry for each pod: a
  task instance for each. A pod keeps a worker, of which the local stack has eight; with deferrable=True all
  pods are in flight at once. They run fewer pods (--stock-pods), as they take a second or two for each.

What is measured:

- seconds: from the start of the first task to the end of the last one; of a client, from its first request
  until the last result is known; of a Job, from its creation until its last pod has ended;
- pods/s: pods divided by these seconds; of bare: this rate as a share of the bare client's;
- CPU s/pod: of Airflow's processes and PostgreSQL, with all that they have started, living or ended, from
  the DAG run's creation until its pods are deleted, and with what they use when idle; of a client, its own;
- task instances: of the DAG run;
- memory: the most that Airflow's processes used while the design ran, above what they used before.

--json writes an object with `summary`, by stack (`local`: the local endpoint; `cluster`: a real one) and
design, and `designs`, with the CPU seconds of each component. `idle_cpu_seconds` is what Airflow and
PostgreSQL use in a second without any work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

from kubernetes_asyncio.client import ApiException

from scripts.airflow_api import Api
from scripts.bench import bare, job
from scripts.bench.cpu_time import CpuMeter, roots
from scripts.bench.cycles import BESIDE_AIRFLOW, program
from scripts.bench.memory import memory_of, peak_memory
from scripts.bench.set_table import Measured, summary, table
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
from scripts.bench.turns import ORCHESTRATOR
from scripts.command import run_command
from scripts.local.passwords import passwords
from scripts.local.services import postgres
from scripts.local.services.airflow import ADMIN
from scripts.local.services.kubernetes import core_api
from scripts.local.settings import Settings
from scripts.progress import Progress

DAGS = {"ours": "set-of-pods", "stock": "mapped", "stock-deferrable": "mapped-deferrable"}
"""The DAG of each design with Airflow."""
CLIENTS = ("bare", "job")
DESIGNS = (*CLIENTS, *DAGS)
DEFAULT_DESIGNS = ("bare", "job", "ours", "stock")
AIRFLOW = ("api-server", "dag-processor", "scheduler", "triggerer")
"""The components whose memory is measured."""
MOST_MAPPED = 1024
"""Airflow maps a task over no longer list ([core] max_map_length)."""
IDLE_SECONDS = 10


class RunTimes(NamedTuple):
    """What Airflow's database has of a DAG run."""

    task_instances: int
    began: float
    """When the first task with a pod started, in seconds since 1970."""
    ended: float
    """When the last one ended."""


class Bench:
    """A stack to measure on."""

    def __init__(self, settings: Settings, api: Api, in_flight: int, show: Callable[[str], None]) -> None:
        self._settings = settings
        self._api = api
        self._in_flight = in_flight
        self._show = show

    def idle_cpu_seconds(self) -> float:
        """Return the CPU seconds that Airflow and PostgreSQL use in a second without work."""
        self._show(f"idle: {IDLE_SECONDS} s")
        began, meter = time.monotonic(), CpuMeter(self._settings)
        time.sleep(IDLE_SECONDS)
        used = meter.seconds()
        return sum(used.get(name, 0.0) for name in ORCHESTRATOR) / (time.monotonic() - began)

    def measure(self, design: str, pods: int) -> Measured:
        """Measure a design with ``pods`` pods; exit the program if they do not end or if one fails."""
        try:
            if design in DAGS:
                return self._dag(design, pods)
            self._show(f"{design}: {pods} pods, {self._in_flight} in flight")
            return asyncio.run(self._bare(pods) if design == "bare" else self._job(pods))
        except bare.PodFailed as error:
            sys.exit(f"{design}: {error}")
        except ApiException as error:
            sys.exit(f"{design}: the Kubernetes API refuses a request: {error.status} {error.reason}")

    async def _bare(self, pods: int) -> Measured:
        start = _start("bare")
        async with bare.one_cycle_executed(self._settings, start, program(cpus=1)) as client:
            meter, cpu, began = CpuMeter(self._settings), time.thread_time(), time.time()
            try:
                async with asyncio.timeout(patience(pods)):
                    await client.execute_again(pods, self._in_flight)
            except TimeoutError:
                raise bare.PodFailed(f"the pods do not end within {patience(pods):.0f} s") from None
            seconds = time.time() - began
            await client.delete_pods()
            used = {"client": time.thread_time() - cpu} | meter.seconds()
        self._wait_until_gone(start)
        beside = {name: used[name] for name in ("client", *BESIDE_AIRFLOW) if name in used}
        return Measured("bare", pods, self._in_flight, seconds, beside)

    async def _job(self, pods: int) -> Measured:
        found = await job.complete(self._settings, program(cpus=1), self._in_flight, pods, patience(pods))
        seconds, used = found.ends[-1] - found.created, {"client": found.client_seconds}
        return Measured("job", pods, self._in_flight, seconds, used)

    def _dag(self, design: str, pods: int) -> Measured:
        dag, start = DAGS[design], _start(design)
        airflow = [pid for pid, name in roots(self._settings).items() if name in AIRFLOW]
        asyncio.run(_execute_one_cycle(self._settings, start))
        with peak_memory(lambda: memory_of(airflow)) as memory:
            self._show(f"{design}: one pod first")
            self._run(dag, start, 1)
            self._show(f"{design}: {pods} pods, {self._in_flight} in flight")
            meter = CpuMeter(self._settings)
            times = self._run(dag, start, pods)
            used = meter.seconds()
        return Measured(
            design,
            pods,
            self._in_flight,
            times.ended - times.began,
            used,
            times.task_instances,
            memory.above_idle,
        )

    def _run(self, dag: str, start: str, pods: int) -> RunTimes:
        """Run a DAG, wait until its pods are deleted, and return its times; exit the program if it fails."""
        conf = {"start": start, "pods": pods, "in_flight": self._in_flight}
        run = self._api.trigger(dag, conf)["dag_run_id"]
        wait_or_exit(
            lambda: self._state(dag, run) in ("success", "failed"),
            patience(pods),
            f"the run of DAG {dag} with {pods} pods does not end within {patience(pods):.0f} s",
        )
        if self._state(dag, run) == "failed":
            sys.exit(f"the run of DAG {dag} with {pods} pods failed: {self._failure(dag, run)}")
        self._wait_until_gone(start)
        return self._times(dag, run)

    def _state(self, dag: str, run: str) -> str:
        # Not by Airflow's API: a look there takes more of the CPU time that is measured.
        rows = postgres.query(
            self._settings,
            "SELECT state FROM dag_run WHERE dag_id = :'dag' AND run_id = :'run'",
            dag=dag,
            run=run,
        )
        return rows[0][0] if rows else ""

    def _times(self, dag: str, run: str) -> RunTimes:
        query = """SELECT count(*), extract(epoch FROM min(start_date) FILTER (WHERE task_id = 'work')),
                extract(epoch FROM max(end_date) FILTER (WHERE task_id = 'work'))
            FROM task_instance WHERE dag_id = :'dag' AND run_id = :'run'"""
        ((number, began, ended),) = postgres.query(self._settings, query, dag=dag, run=run)
        return RunTimes(int(number), float(began), float(ended))

    def _failure(self, dag: str, run: str) -> str:
        """Return the end of the log of a task that failed."""
        failed = next(iter(self._api.tasks(dag, run, state="failed")), None)
        if failed is None:
            return "no task of it did"
        lines = self._api.log(dag, run, failed["task_id"], failed["try_number"], failed["map_index"])
        return "\n".join([f"task {failed['task_id']}", *lines[-5:]])

    def _wait_until_gone(self, start: str) -> None:
        """Wait until no pod of a start run is left."""
        api = core_api(self._settings)
        try:
            wait_or_exit(
                lambda: (
                    not api.list_namespaced_pod(
                        self._settings.namespace, label_selector=f"start={start}", limit=1
                    ).items
                ),
                patience(1),
                "the pods are not deleted",
            )
        finally:
            api.api_client.close()


def patience(pods: int) -> float:
    """Return how many seconds this number of pods may take."""
    return 600.0 + 10 * pods


def _start(design: str) -> str:
    return f"{design}-{time.time_ns() % 10**9}"


async def _execute_one_cycle(settings: Settings, start: str) -> None:
    async with bare.one_cycle_executed(settings, start, program(cpus=1)):
        pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the numbers as JSON if asked to."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the stack is removed in any case
    found: list[Measured] = []
    with (
        dags() as folder,
        temporary_stack(f"--dags={folder}", *cluster_options(options)) as settings,
        Api(settings.api_url, ADMIN, passwords(settings.state).admin) as api,
        Progress() as progress,
    ):
        bench = Bench(settings, api, options.in_flight, progress.show)
        idle = bench.idle_cpu_seconds()
        for design in options.designs:
            pods = options.stock_pods if design.startswith("stock") else options.pods
            found.append(bench.measure(design, pods))
            progress.show(f"{design}: {found[-1].rate:.2f} pods/s, {found[-1].cpu_seconds:.4f} CPU s per pod")
    print(table(found))
    print(f"\nidle: Airflow and PostgreSQL use {idle:.3f} CPU s per second")
    print_left_out(options)
    if options.json:
        stack = "cluster" if options.kubeconfig else "local"
        report = {
            "summary": summary(stack, found),
            "idle_cpu_seconds": idle,
            "designs": [asdict(one) for one in found],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.sets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 success, 1 the stack or a design fails, 2 wrong options, 130 interrupted",
    )
    parser.add_argument("--pods", type=int, default=300, help="the number of pods (300)")
    parser.add_argument(
        "--stock-pods", type=int, default=32, help="the number of pods of the stock operator's designs (32)"
    )
    parser.add_argument("--in-flight", type=int, default=32, help="how many pods at once, at most (32)")
    add_design_options(parser, DESIGNS, DEFAULT_DESIGNS)
    add_cluster_options(parser)
    options = parser.parse_args(arguments)
    if min(options.pods, options.stock_pods, options.in_flight) < 1:
        parser.error("--pods, --stock-pods and --in-flight are 1 or more")
    if options.stock_pods > MOST_MAPPED:
        parser.error(f"--stock-pods is at most {MOST_MAPPED}: Airflow maps a task over no longer list")
    leave_out(parser, options)
    return options


if __name__ == "__main__":
    sys.exit(run_command(main))

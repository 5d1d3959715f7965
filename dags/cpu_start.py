"""DAG ``cpu_start``: from a form to hundreds of CPUs.

store (a pod) → start_cpus → notify, where there is nothing to swap
              → announce
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from dags import settings
from dags.dag_runs import Cycle, trigger, watch
from dags.notifications import RETRIES, SlackRetryPolicy, post_answer, post_failure, post_start
from dags.pods import PodOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

DOC = """
### Find what a program answers, with a cluster for a CPU

| task | what it does |
|---|---|
| `store` | a pod parses the program, refuses it with the line that is wrong, or keeps it once |
| `start_cpus` | triggers cycle 0 of every CPU in DAG `cpu`: one per `jmp` and `nop`, one that swaps nothing |
| `announce` | tells in Slack that it has begun: the thread that the answers come to |
| `notify` | where there is no `jmp` and no `nop` at all: tells that no swap ends this program |

The rest happens in DAG [cpu](dags/cpu): one run is one cycle of one CPU. DAG [cpu_watch](dags/cpu_watch)
sees to it that each of them comes to its end.
"""

EXAMPLE = """\
nop +0
acc +1
jmp +4
acc +3
jmp -3
acc -99
acc +1
jmp -4
acc +6
"""

PROGRAMS = Path(__file__).parent / "programs"
BUNDLED = {
    "none": "the text below",
    "medium": "61 lines: 25 CPUs",
    "puzzle": "611 lines, as the puzzle: 230 CPUs, for 100 cycles per pod or more",
}
PARTS = {"both": (1, 2), "part 1": (1,), "part 2": (2,)}
# PostgreSQL's JSON has neither NUL nor half a surrogate pair, and Airflow would not say so.
KEPT_BY_DATABASES = r"^[^\u0000\uD800-\uDFFF]*$"
# An argument may have 128 KiB; base64 grows by a third.
CHUNK = 65_536
# Measured on two cores: a run takes 30 to 60 ms to trigger.
TIME_TO_TRIGGER = timedelta(milliseconds=50)


def start_id(context: Context) -> str:
    """The start run's id, a DNS label that every try of every task finds again: time and a hash."""
    run = context["dag_run"]
    digest = hashlib.sha256(run.run_id.encode()).hexdigest()[:6]
    return f"{run.run_after:%Y%m%d-%H%M%S}-{digest}"


def program_of(params: Mapping[str, Any]) -> str:
    """The program that the form asks for: a bundled one, or the text that was pasted."""
    chosen = params["bundled"]
    return str(params["program"]) if chosen == "none" else (PROGRAMS / f"{chosen}.txt").read_text()


def store_args(context: Context, **_: Any) -> list[str]:
    """Arguments of the pod that stores the program.

    Compressed and in base64, so that 10,000 lines fit and nothing in them means anything to a template,
    a shell or Kubernetes, whatever somebody pasted into the form.
    """
    params = context["params"]
    encoded = base64.b64encode(zlib.compress(program_of(params).encode())).decode()
    chunks = [encoded[i : i + CHUNK] for i in range(0, len(encoded), CHUNK)]
    parts = [flag for part in PARTS[params["parts"]] for flag in ("--part", str(part))]
    keep_going = [] if params["stop_at_first_answer"] else ["--keep-going"]
    settings = [*parts, *keep_going, "--cycles", str(int(params["cycles"]))]
    return ["store", "--start", start_id(context), *settings, "--encoded", *chunks]


def cpus_to_start(parts: str, candidates: str) -> list[int]:
    """The CPUs to start: 0 for part 1, and for part 2 the number of every ``jmp`` and ``nop``.

    >>> cpus_to_start("both", "0x12a")
    [0, 1, 3, 5, 8]
    """
    bits = int(candidates, 16) if 2 in PARTS[parts] else 0
    swaps = [number for number in range(1, bits.bit_length()) if bits >> number & 1]
    return ([0] if 1 in PARTS[parts] else []) + swaps


def tell_of_failure(context: Context) -> None:
    """Tell people that a task without which there is no start run has failed for good."""
    post_failure(start_id(context), context)


with DAG(
    dag_id="cpu_start",
    description="Solve a program with one CPU per possible swap, one pod per clock cycle.",
    doc_md=DOC,
    **settings.TRIGGERED,
    max_active_runs=16,
    params={
        "bundled": Param(
            "none",
            enum=list(BUNDLED),
            values_display=BUNDLED,
            title="Program",
            description="One that comes along, or the text below. Where a line is no instruction, no CPU is "
            "started, and the run's note tells the line.",
        ),
        "program": Param(
            EXAMPLE,
            type="string",
            format="multiline",
            minLength=1,
            maxLength=1_000_000,
            pattern=KEPT_BY_DATABASES,
            title="The text",
            description="One instruction per line: acc, jmp or nop and a signed number. Up to 10,000.",
        ),
        "cycles": Param(
            1,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Cycles per pod",
            description="1 is the real thing: one pod per clock cycle. More is faster.",
        ),
        "parts": Param(
            "both",
            enum=list(PARTS),
            title="Parts",
            description="Part 1: the accumulator when the program loops. Part 2: the accumulator when one "
            "swap of jmp and nop makes it end.",
        ),
        "stop_at_first_answer": Param(
            True,
            type="boolean",
            title="Stop at the first answer",
            description="When part 2 is answered, the CPUs still running stop at their next cycle.",
        ),
    },
    user_defined_macros={"start_id": start_id},
) as dag:
    store = PodOperator(
        task_id="store",
        name="cpu-{{ start_id({'dag_run': dag_run}) }}-store",
        arguments=store_args,
        labels={
            "app": "cluster-cpu",
            "start": "{{ start_id({'dag_run': dag_run}) }}",
            "command": "store",
        },
        strict_conf=True,
        on_failure_callback=tell_of_failure,
        **settings.POD,
    )

    @task(on_failure_callback=tell_of_failure)
    def start_cpus() -> dict[str, int]:
        """Trigger cycle 0 of every CPU; a try after a first one triggers only what is missing."""
        context = get_current_context()
        params, stored = context["params"], context["ti"].xcom_pull(task_ids="store")
        cpus = cpus_to_start(params["parts"], stored["candidates"])
        cycles = int(params["cycles"])  # the form takes 1.0 for a whole number, the image does not
        # Before the CPUs, for it sees to those that this task may fail to start.
        if cpus:
            watch(stored["start"], context["dag_run"].run_after)
        # The first cycles begin when about all of them are triggered: before, they would only be in the way.
        begin = datetime.now(UTC) + TIME_TO_TRIGGER * len(cpus)
        started = [
            trigger(Cycle(start=stored["start"], cpu=cpu, cycle=0, cycles=cycles), begin) for cpu in cpus
        ]
        return {"cpus": len(cpus), "triggered": sum(started)}

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def announce() -> dict[str, Any]:
        """Tell people that the start run has begun."""
        context = get_current_context()
        params, stored = context["params"], context["ti"].xcom_pull(task_ids="store")
        cpus = cpus_to_start(params["parts"], stored["candidates"])
        return post_start(
            stored["start"],
            program_of(params),
            stored["instructions"],
            len(cpus),
            int(params["cycles"]),
            context,
        )

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def notify() -> dict[str, Any]:
        """Where part 2 is asked for and there is nothing to swap: tell that no swap ends the program."""
        context = get_current_context()
        stored = context["ti"].xcom_pull(task_ids="store")
        if 2 not in PARTS[context["params"]["parts"]] or int(stored["candidates"], 16):
            raise AirflowSkipException("the CPUs will tell the answer")
        return post_answer({"verdict": "none", "start": stored["start"]}, context)

    store >> start_cpus() >> notify()
    # Beside the CPUs, not before: they do not wait for Slack.
    store >> announce()

"""DAG ``cpu_start``: store a program and start a CPU for each of its candidates.

store (a pod) → start_cpus → answers, when the start run is over
                           → notify, if the program has no candidates
              → announce
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pods import PodOperator
from dags import settings
from dags.answers import AnswersOperator
from dags.dag_runs import Cycle, trigger_answers, trigger_cycle, trigger_survey
from dags.notifications import RETRIES, SlackRetryPolicy, post_answer, post_failure, post_start
from dags.start_form import PARAMS, PARTS, cpus_to_start, cycles_per_pod, program_of, start_id, store_args

if TYPE_CHECKING:
    from airflow.sdk import Context

DOC = """
### Run a program on a cluster: one CPU per possible swap, one pod per clock cycle

The program loops for ever. Two questions are asked about it. Part 1: what is in the accumulator right before
an instruction runs a second time? Part 2: what is in it at the end of the program, if one `jmp` or `nop` is
swapped so that the program does end? For part 2, each `jmp` and `nop` gets a CPU that runs the program with
this one instruction swapped.

| task | what it does |
|---|---|
| `store` | a pod checks the program and stores it in Redis; if a line is wrong, the task fails and names it |
| `start_cpus` | triggers cycle 0 of each CPU in DAG `cpu`: CPU 0 swaps nothing, the others one instruction |
| `announce` | posts to Slack that the start run has begun; the answers reply to this message |
| `notify` | if the program has neither `jmp` nor `nop`: posts that no swap ends this program |
| `answers` | waits for both answers, which are its XCom; if one never comes, it fails and says why |

The CPUs run in DAG [cpu](dags/cpu), whose last runs post the answers. DAG [cpu_watch](dags/cpu_watch) resumes
CPUs whose runs have failed. DAG [cpu_answers](dags/cpu_answers) collects the answers that this run ends with,
which are events of assets too, `cpu_answer_part_1` and `cpu_answer_part_2`. To stop before, use DAG
[cpu_cancel](dags/cpu_cancel).
"""

STORES_AT_ONCE = 16
"""How many pods store a program at the same time; `scripts/cluster/quota.yaml` counts them."""
RUNS_AT_ONCE = 500
"""How many runs of this DAG may be in progress, nearly all of them waiting. One triggerer waits for 1,000
things (its capacity), up to 400 of which are pods.
"""
TIME_TO_TRIGGER = timedelta(milliseconds=50)
"""How long it takes to trigger a DAG run: measured on two cores, 30 to 60 ms."""


def on_failure(context: Context) -> None:
    """Post that `store` or `start_cpus` has failed for good: without them there is no start run."""
    post_failure(start_id(context), context)


with DAG(
    dag_id="cpu_start",
    description="Run a program: one CPU per possible swap, one pod per clock cycle.",
    doc_md=DOC,
    **settings.DAG_DEFAULTS,
    max_active_runs=RUNS_AT_ONCE,
    params=PARAMS,
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
        max_active_tis_per_dag=STORES_AT_ONCE,
        on_failure_callback=on_failure,
        **settings.POD,
    )

    @task(on_failure_callback=on_failure)
    def start_cpus() -> dict[str, int]:
        """Trigger cycle 0 of every CPU; a retry triggers only those that are missing."""
        context = get_current_context()
        params, stored = context["params"], context["ti"].xcom_pull(task_ids="store")
        start, cycles = stored["start"], cycles_per_pod(params)
        cpus = cpus_to_start(params["parts"], stored["candidates"])
        # Before the CPUs, as the watchdog starts those that this task fails to start.
        if cpus:
            trigger_survey(start, context["dag_run"].run_after)
        else:
            trigger_answers(start)
        # The CPUs begin when about all of them are triggered: earlier they would slow this task down.
        begin = datetime.now(UTC) + TIME_TO_TRIGGER * len(cpus)
        triggered = [
            trigger_cycle(Cycle(start=start, cpu=cpu, cycle=0, cycles=cycles), begin) for cpu in cpus
        ]
        return {"cpus": len(cpus), "triggered": sum(triggered)}

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def announce() -> dict[str, Any]:
        """Post to Slack that the start run has begun; the XCom says where it was posted."""
        context = get_current_context()
        params, stored = context["params"], context["ti"].xcom_pull(task_ids="store")
        return post_start(
            stored["start"],
            program_of(params),
            instructions=stored["instructions"],
            cpus=len(cpus_to_start(params["parts"], stored["candidates"])),
            cycles=cycles_per_pod(params),
            context=context,
        )

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def notify() -> dict[str, Any]:
        """Post that no swap ends this program, if part 2 is asked and the program has no candidates."""
        context = get_current_context()
        stored = context["ti"].xcom_pull(task_ids="store")
        if 2 not in PARTS[context["params"]["parts"]] or int(stored["candidates"], 16):
            raise AirflowSkipException("the CPUs post the answer")
        return post_answer({"verdict": "none", "start": stored["start"]}, context)

    answers = AnswersOperator(task_id="answers")
    dag.add_result(answers.output)

    store >> start_cpus() >> [notify(), answers]
    # Beside the CPUs, not before them: they do not wait for Slack.
    store >> announce()

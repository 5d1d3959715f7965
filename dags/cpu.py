"""DAG ``cpu``: one DAG run is one clock cycle of one CPU.

execute (a pod; in cycle 0: load, another pod) → next_cycle | halt | read (a pod) → notify
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, Param, TriggerRule, get_current_context, task

from airflow_pods import PodOperator
from dags import settings
from dags.dag_runs import START_PATTERN, already_triggered, follow_status, next_step
from dags.names import POD_COMMANDS, pod_name
from dags.notifications import RETRIES, SlackRetryPolicy, post_answer

DOC = """
### One run of this DAG is one clock cycle of one CPU

A CPU runs a small program. Its memory is in Redis, and each of its clock cycles is a pod.

| task | what it does |
|---|---|
| `execute` | a pod reads the CPU's registers, executes its next instruction and writes the registers back |
| `load` | in cycle 0, instead of `execute`: a pod creates the CPU: registers zero, one instruction swapped |
| `next_cycle` | the CPU has a next cycle, whose run was triggered |
| `halt` | the CPU has stopped without an answer |
| `read` | the CPU has stopped with an answer: a pod reads its registers |
| `notify` | posts the answer to Slack, or writes it to its log if there is no connection to Slack |

Start a program with DAG [cpu_start](dags/cpu_start), which triggers the first cycle of every CPU. A run's id
names its start run, CPU and cycle, and so do its pods' labels: `kubectl get pods -l start=…,cpu=…`. You can
clear any task: a cycle happens only once.

The task of the pod also decides what follows and triggers the next run. A task of its own would cost a cycle
as much time as the pod does.
"""


def cpu_pod(command: str, *flags: str, **kwargs: Any) -> PodOperator:
    """Return a task whose pod runs a command of the image on the CPU of this DAG run."""
    return PodOperator(
        name=pod_name("{{ params.start }}", "{{ params.cpu }}", "{{ params.cycle }}", command),
        arguments=[command, "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}", *flags],
        labels={
            "app": "cluster-cpu",
            "start": "{{ params.start }}",
            "cpu": "{{ params.cpu }}",
            "cycle": "{{ params.cycle }}",
            "command": command,
        },
        strict_conf=True,
        **settings.POD,
        **kwargs,
    )


with DAG(
    dag_id="cpu",
    description="One run is one clock cycle of one CPU. Triggered by cpu_start, not by hand.",
    doc_md=DOC,
    **settings.DAG_DEFAULTS,
    max_active_runs=settings.CPUS_AT_ONCE,
    max_active_tasks=settings.CPUS_AT_ONCE,
    params={
        "start": Param(
            "none",
            type="string",
            pattern=START_PATTERN,
            title="Start run",
            description="The name of the start run that the CPU belongs to.",
        ),
        "cpu": Param(
            0,
            type="integer",
            minimum=0,
            maximum=10_000,
            title="CPU",
            description="0 runs the program as written, N runs it with its Nth instruction swapped.",
        ),
        "cycle": Param(
            0,
            type="integer",
            minimum=0,
            maximum=10**12,
            title="Cycle",
            description="The number of the clock cycle: 0 loads the CPU, 1 and up execute an instruction.",
        ),
        "cycles": Param(
            1,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Cycles per pod",
            description="How many cycles the pod executes, one after the other.",
        ),
    },
) as dag:
    execute = cpu_pod(
        POD_COMMANDS["execute"],
        "--cycle",
        "{{ params.cycle }}",
        "--cycles",
        "{{ params.cycles }}",
        task_id="execute",
        skip_to="{{ 'load' if params.cycle == 0 else '' }}",
        branch=follow_status,
        next_step=next_step,
        on_refusal=already_triggered,
    )
    load = cpu_pod(POD_COMMANDS["load"], "--once", task_id="load", branch=follow_status, next_step=next_step)

    next_cycle = EmptyOperator(task_id="next_cycle", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    halt = EmptyOperator(task_id="halt", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    read = cpu_pod(POD_COMMANDS["read"], task_id="read", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def notify() -> dict[str, Any]:
        """Post the answer to Slack; the XCom says where it was posted."""
        context = get_current_context()
        return post_answer(context["ti"].xcom_pull(task_ids="read"), context)

    execute >> Label("cycle 0") >> load
    for step in (execute, load):
        step >> Label("ok") >> next_cycle
        step >> Label("stopped") >> halt
        step >> Label("stopped, with an answer") >> read
    read >> notify()

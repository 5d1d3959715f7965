"""DAG ``cpu``: one run is one clock cycle of one CPU.

execute (a pod; the first time: load, another pod) → next_cycle | halt | read (a pod) → notify
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, Param, TriggerRule, get_current_context, task

from dags import settings
from dags.dag_runs import START_PATTERN, Cycle, go_on, is_triggered
from dags.notifications import RETRIES, SlackRetryPolicy, post_answer
from dags.pods import PodOperator

DOC = """
### One run is one clock cycle of one CPU

| task | what it does |
|---|---|
| `execute` | a pod fetches, decodes, executes and writes back; then the branch on its status |
| `load` | instead, in cycle 0: a pod makes the CPU: registers zero, its one instruction swapped |
| `next_cycle` | `ok`: the run of this CPU's next cycle has been triggered |
| `halt` | the CPU has stopped, and there is nothing to tell |
| `read` | the CPU has stopped with an answer: a pod reads its registers |
| `notify` | tells it in Slack, or in this task's log |

`cpu_start` triggers the first cycle of every CPU. A run's id says which CPU and which cycle, a pod's
labels say it too: `kubectl get pods -l start=…,cpu=…`. Clearing any task is safe: a cycle happens once.

The branch, and triggering the next run, belong to the pod's task: every task that a worker has to do costs a
cycle as much as the pod.
"""


def after(result: dict[str, Any]) -> str:
    """The branch on a pod's result: go on with the next cycle, tell the news, or halt."""
    if result["status"] == "ok":
        trigger_next(result)
        return "next_cycle"
    return "read" if "verdict" in result else "halt"


def trigger_next(result: dict[str, Any]) -> None:
    """Trigger the run of this CPU's next cycle, unless an earlier try has."""
    go_on(cycle_of_this_cpu(result["cycle"] + 1), get_current_context()["dag_run"].run_after)


def gone_on() -> str:
    """Where this CPU's next run is there: an earlier try has triggered it before it was killed, and the pod
    refuses this cycle if the next one has happened since.
    """
    params = get_current_context()["params"]
    return "next_cycle" if is_triggered(cycle_of_this_cpu(params["cycle"] + params["cycles"])) else ""


def cycle_of_this_cpu(number: int) -> Cycle:
    """Another cycle of this run's CPU."""
    params = get_current_context()["params"]
    return Cycle(start=params["start"], cpu=params["cpu"], cycle=number, cycles=params["cycles"])


def pod(command: str, *flags: str, **kwargs: Any) -> PodOperator:
    """The pod that runs one command of the image on this run's CPU."""
    return PodOperator(
        name=f"cpu-{{{{ params.start }}}}-{{{{ params.cpu }}}}-{{{{ params.cycle }}}}-{command}",
        arguments=[command, "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}", *flags],
        labels={
            "app": "cluster-cpu",
            "start": "{{ params.start }}",
            "cpu": "{{ params.cpu }}",
            "cycle": "{{ params.cycle }}",
            "command": command,
        },
        deferrable=settings.DEFERRED,
        strict_conf=True,
        **settings.POD,
        **kwargs,
    )


with DAG(
    dag_id="cpu",
    description="One run is one clock cycle of one CPU. Triggered by cpu_start, not by hand.",
    doc_md=DOC,
    **settings.TRIGGERED,
    max_active_runs=settings.CPUS_AT_ONCE,
    max_active_tasks=settings.CPUS_AT_ONCE,
    # All with a default: without one, the triggerer could not render what the scheduler hands over to it.
    params={
        "start": Param("none", type="string", pattern=START_PATTERN, description="The start run"),
        "cpu": Param(
            0, type="integer", minimum=0, maximum=10_000, description="0, or the instruction swapped"
        ),
        "cycle": Param(0, type="integer", minimum=0, maximum=10**12, description="0 loads, 1 and up execute"),
        "cycles": Param(1, type="integer", minimum=1, maximum=10_000, description="Cycles per pod"),
    },
) as dag:
    execute = pod(
        "exec",
        "--cycle",
        "{{ params.cycle }}",
        "--cycles",
        "{{ params.cycles }}",
        task_id="execute",
        skip_to="{{ 'load' if params.cycle == 0 else '' }}",
        branch=after,
        on_refusal=gone_on,
    )
    load = pod("load", "--once", task_id="load", branch=after)

    next_cycle = EmptyOperator(task_id="next_cycle", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    halt = EmptyOperator(task_id="halt", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    read = pod("read", task_id="read", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)

    @task(retries=RETRIES, retry_policy=SlackRetryPolicy())
    def notify() -> dict[str, Any]:
        """Tell people the answer."""
        context = get_current_context()
        return post_answer(context["ti"].xcom_pull(task_ids="read"), context)

    execute >> Label("cycle 0") >> load
    for step in (execute, load):
        step >> Label("ok") >> next_cycle
        step >> Label("stopped") >> halt
        step >> Label("stopped, with an answer") >> read
    read >> notify()

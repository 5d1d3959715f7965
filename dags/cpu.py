"""DAG ``cpu``: one run is one clock cycle of one CPU.

is_new → load | execute (a pod) → next_cycle | halt | read (a pod) → notify
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, Param, TriggerRule, get_current_context, task

from dags import settings
from dags.news import TRIES, AsSlackAsks, tell
from dags.pods import PodOperator
from dags.runs import START_PATTERN, Cycle, go_on

DOC = """
### One run is one clock cycle of one CPU

| task | what it does |
|---|---|
| `is_new` | cycle 0 of a CPU loads it, any other executes |
| `load` | a pod makes the CPU: registers zero, its one instruction swapped |
| `execute` | a pod fetches, decodes, executes and writes back; then the branch on its status |
| `next_cycle` | `ok`: triggers the run of this CPU's next cycle |
| `halt` | the CPU has stopped, and there is nothing to tell |
| `read` | the CPU has stopped with an answer: a pod reads its registers |
| `notify` | tells it in Slack, or in this task's log |

`cpu_start` triggers the first cycle of every CPU. A run's id says which CPU and which cycle, a pod's
labels say it too: `kubectl get pods -l start=…,cpu=…`. Clearing any task is safe: a cycle happens once.
"""


def after(result: dict[str, Any]) -> str:
    """The branch on a pod's result: go on, tell the news, or halt."""
    if result["status"] == "ok":
        return "next_cycle"
    return "read" if "verdict" in result else "halt"


def pod(command: str, *flags: str, **kwargs: Any) -> PodOperator:
    """The pod that runs one command of the image on this run's CPU."""
    return PodOperator(
        name=f"cpu-{{{{ params.start }}}}-{{{{ params.cpu }}}}-{{{{ params.cycle }}}}-{command}",
        args=[command, "--start", "{{ params.start }}", "--cpu", "{{ params.cpu }}", *flags],
        labels={
            "app": "cluster-cpu",
            "start": "{{ params.start }}",
            "cpu": "{{ params.cpu }}",
            "cycle": "{{ params.cycle }}",
            "command": command,
        },
        deferrable=settings.DEFERRED,
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
    params={
        "start": Param(type="string", pattern=START_PATTERN, description="The start run"),
        "cpu": Param(type="integer", minimum=0, maximum=10_000, description="0, or the instruction swapped"),
        "cycle": Param(0, type="integer", minimum=0, maximum=10**12, description="0 loads, 1 and up execute"),
        "cycles": Param(1, type="integer", minimum=1, maximum=10_000, description="Cycles per pod"),
    },
) as dag:

    @task.branch
    def is_new() -> str:
        """Cycle 0 of a CPU loads it, any other executes."""
        return "load" if get_current_context()["params"]["cycle"] == 0 else "execute"

    load = pod("load", "--once", task_id="load", branch=after)
    execute = pod(
        "exec",
        "--cycle",
        "{{ params.cycle }}",
        "--cycles",
        "{{ params.cycles }}",
        task_id="execute",
        branch=after,
    )

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def next_cycle() -> str:
        """Trigger the run of this CPU's next cycle; its id is the XCom, empty where an earlier try has."""
        context = get_current_context()
        params = context["params"]
        result = context["ti"].xcom_pull(task_ids="load" if params["cycle"] == 0 else "execute")
        following = Cycle(
            start=params["start"], cpu=params["cpu"], cycle=result["cycle"] + 1, cycles=params["cycles"]
        )
        return go_on(following, context["dag_run"].run_after)

    halt = EmptyOperator(task_id="halt", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    read = pod("read", task_id="read", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)

    @task(retries=TRIES, retry_policy=AsSlackAsks())
    def notify() -> dict[str, Any]:
        """Tell people the answer."""
        context = get_current_context()
        return tell(context["ti"].xcom_pull(task_ids="read"), context)

    following, told = next_cycle(), notify()
    new = is_new()
    new >> Label("cycle 0") >> load
    new >> Label("later") >> execute
    for step in (load, execute):
        step >> Label("ok") >> following
        step >> Label("stopped") >> halt
        step >> Label("stopped, with an answer") >> read
    read >> told

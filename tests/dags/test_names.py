"""The names of runs and pods: DAG `cpu` gives them, and the wall reads them."""

from __future__ import annotations

from jinja2 import Template

from airflow_pods import PodOperator
from dags import cpu, names
from dags.dag_runs import Cycle, run_id, run_ids


def test_every_task_with_a_pod_has_its_command_and_its_name() -> None:
    tasks = {task.task_id: task for task in cpu.dag.tasks if isinstance(task, PodOperator)}
    assert set(tasks) == set(names.POD_COMMANDS)
    params = {"start": "here", "cpu": 8, "cycle": 3}
    for task_id, command in names.POD_COMMANDS.items():
        task = tasks[task_id]
        assert next(iter(task.arguments)) == command
        rendered = Template(task.name).render(params=params)
        assert rendered == names.pod_name("here", 8, 3, command) == f"cpu-here-8-3-{command}"


def test_the_cycle_of_a_run_is_read_from_its_id_whether_it_is_the_first_or_resumes() -> None:
    cycle = Cycle(start="here", cpu=8, cycle=12, cycles=1)
    assert run_id(cycle).startswith(names.runs_of_cpu("here", 8))
    assert {names.cycle_of_run(run) for run in run_ids(cycle)} == {"12"}

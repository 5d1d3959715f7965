"""Tasks that begin and end in Airflow's database without a worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from airflow.exceptions import ParamValidationError
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.serialization.definitions.baseoperator import SerializedBaseOperator
from airflow.utils.session import create_session
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from airflow_pods import NextRun, NextStep, PodRefused, task_rows
from airflow_pods.log_link import LINK_KEY
from airflow_pods.task_context import NeedsWorker
from airflow_pods.task_rows import Begun, NotOurs, beat, begin, end, hand_over, state_of
from tests.dags.pods.database import airflow
from tests.dags.pods.database.airflow import dag_of_pods, queued, row, states, xcoms
from tests.support.airflow_database import create_run, store_dag
from tests.support.nodeless import NAMESPACE

LEFT = NextStep("left")
RESULT = {"step": "left", "big": 2**64 - 1, "deep": [{"text": "→", "none": None, "float": 0.5}]}


@pytest.fixture
def task(run: str) -> TaskInstanceDTO:
    """A task that is queued."""
    return queued(run)


def begun(task: TaskInstanceDTO) -> Begun:
    return begin(task, (task.executor_config or {})["pod"])


def after(number: int) -> NextRun:
    return NextRun("after", f"after-{number}", {"n": number})


def test_a_task_begins_and_ends_with_its_xcoms_its_branch_and_the_next_run(
    run: str, number: int, task: TaskInstanceDTO
) -> None:
    pod = begun(task)
    assert (pod.pod.name, pod.pod.arguments) == (f"pod-{number}", ["run", str(number)])
    assert pod.params == {"n": number, "skip": ""}
    assert row(run).state == "running"
    end(task, {"result": RESULT}, NextStep("left", after(number)))
    assert row(run).state == "success"
    assert row(run).end_date >= row(run).start_date
    assert xcoms(run) == {"return_value": RESULT, "skipmixin_key": {"followed": ["left"]}}
    assert states(run) == {"pod": "success", "left": None, "right": "skipped", "join": None}
    assert f"after-{number}" in airflow.runs("after")
    assert airflow.audit_log(run)[-2:] == ["running", "success"]


def last_look(dag: str, run: str) -> datetime:
    """Return when, by Airflow's database, the scheduler has last looked at a run."""
    with create_session() as session:
        found = session.scalars(select(DagRun).filter_by(dag_id=dag, run_id=run)).one()
        assert found.last_scheduling_decision is not None
        return found.last_scheduling_decision


def test_runs_that_the_scheduler_has_something_to_do_for_come_before_those_whose_task_is_running(
    run: str, number: int, task: TaskInstanceDTO
) -> None:
    begun(task)
    begins = last_look("pods", run)
    end(task, {"result": RESULT}, NextStep("left", after(number)))
    assert last_look("pods", run) < begins
    assert last_look("after", f"after-{number}") < begins


@pytest.mark.parametrize("how", ["ended", "handed over", "marked"])
def test_the_scheduler_looks_at_a_run_whose_task_no_longer_runs_here_also_while_its_dag_is_paused(
    run: str, task: TaskInstanceDTO, how: str
) -> None:
    begun(task)
    if how == "handed over":
        hand_over(task, {"result": RESULT})
    elif how == "ended":
        end(task, {"result": RESULT}, None)
    else:
        airflow.change(run, airflow.marked("success"))
    # Airflow compares this time with that of the last change of a task.
    assert last_look("pods", run) <= row(run).updated_at


def queued_with(number: int, conf: dict[str, Any]) -> TaskInstanceDTO:
    """Return the queued task of a run of DAG ``parameters``."""
    store_dag(airflow.dag_with_parameters())
    create_run("parameters", f"run-{number}", {"n": number, **conf})
    return queued(f"run-{number}")


@pytest.mark.parametrize(("conf", "size"), [({}, 2), ({"size": 3}, 3)])
def test_parameters_have_the_value_of_the_run_else_of_the_task_else_of_the_dag(
    number: int, conf: dict[str, Any], size: int
) -> None:
    task = begun(queued_with(number, conf))
    assert task.params == {"n": number, "size": size}
    assert (task.pod.name, task.pod.arguments) == (f"pod-{number}", [str(size)])


def test_the_conf_of_a_run_changes_no_parameter_where_airflow_does_not_let_it(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = queued_with(number, {"size": 3})
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    with pytest.raises(ParamValidationError, match="n: No value"):
        begun(task)
    assert row(f"run-{number}", dag_id="parameters").state == "queued"


def test_a_value_that_the_schema_of_a_parameter_refuses_leaves_the_task_queued(number: int) -> None:
    task = queued_with(number, {})
    with create_session() as session:
        run = session.scalars(select(DagRun).filter_by(dag_id="parameters", run_id=f"run-{number}")).one()
        run.conf = {"n": "many"}
    with pytest.raises(ParamValidationError, match="'many' is not of type 'integer'"):
        begun(task)
    assert row(f"run-{number}", dag_id="parameters").state == "queued"


def with_argument(task: TaskInstanceDTO, template: str) -> dict[str, Any]:
    """Return the task's pod with another argument."""
    return {**(task.executor_config or {})["pod"], "arguments": [template]}


@pytest.mark.parametrize(
    ("template", "argument"),
    [
        ("{{ ti.xcom_pull('left')['step'] }}", "left"),
        ("{{ task_instance.xcom_pull(task_ids='left', dag_id='pods', key='size') + 1 }}", "8"),
        ("{{ ti.task_id }} {{ ti.map_index }} {{ ti.try_number }}", "pod -1 1"),
    ],
)
def test_templates_get_xcoms_of_other_tasks(
    run: str, task: TaskInstanceDTO, template: str, argument: str
) -> None:
    with create_session() as session:
        for key, value in (("return_value", RESULT), ("size", 7)):
            stored: Any = {"dag_id": "pods", "task_id": "left", "run_id": run, "serialize": False}
            XComModel.set(key, value, session=session, **stored)
    assert begin(task, with_argument(task, template)).pod.arguments == [argument]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ti.xcom_pull('left') }}",
        "{{ ti.xcom_pull(['left', 'right']) }}",
        "{{ ti.xcom_pull('left', map_indexes=[0, 1]) }}",
        "{{ ti.hostname }}",
        "{{ ti.get_template_context() }}",
    ],
)
def test_what_only_a_worker_can_render_is_left_to_it(run: str, task: TaskInstanceDTO, template: str) -> None:
    with pytest.raises(NeedsWorker):
        begin(task, with_argument(task, template))
    assert row(run).state == "queued"


def test_no_template_reaches_the_database_of_the_scheduler(task: TaskInstanceDTO) -> None:
    for name in ("_session", "session", "xcom_pull.__closure__", "xcom_pull.__globals__"):
        with pytest.raises((NeedsWorker, PodRefused)):
            begin(task, with_argument(task, f"{{{{ ti.{name}.close() }}}}"))


def test_the_branch_of_a_task_that_skips_its_pod_is_followed(run: str, task: TaskInstanceDTO) -> None:
    begun(task)
    end(task, {"skip_to": "right"}, NextStep("right"))
    assert xcoms(run) == {"skipmixin_key": {"followed": ["right"]}}
    assert states(run)["left"] == "skipped"


def test_only_the_branch_of_the_same_mapped_group_is_skipped(number: int) -> None:
    run = f"run-{number}"
    store_dag(airflow.dag_of_mapped_groups())
    create_run("groups", run, {})
    scheduler = airflow.Scheduler(airflow.Recorder())
    for _ in range(4):
        scheduler.step()
    tasks = {each.ti.map_index: each.ti for each in scheduler.pods.queued_tasks.values()}
    begun(tasks[1])
    end(tasks[1], {"result": RESULT}, NextStep("group.left"))
    query = select(TaskInstance.map_index, TaskInstance.state).filter_by(run_id=run, task_id="group.right")
    with create_session() as session:
        assert {each.map_index: each.state for each in session.execute(query)} == {0: None, 1: "skipped"}


def test_nothing_is_left_of_an_end_that_was_not_committed(
    run: str, number: int, task: TaskInstanceDTO, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(task)
    with monkeypatch.context() as patch:
        from airflow.api_fastapi.execution_api.routes import task_instances

        def killed(_ti: Any, _payload: Any, session: Any, _bag: Any) -> None:
            session.flush()
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            with create_session(scoped=False) as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            session.execute(text("SELECT 1"))

        patch.setattr(task_instances, "ti_update_state", killed)
        with pytest.raises(OperationalError):
            end(task, {"result": RESULT}, NextStep("left", after(number)))
    assert (row(run).state, xcoms(run), states(run)["right"]) == ("running", {}, None)
    assert f"after-{number}" not in airflow.runs("after")
    end(task, {"result": RESULT}, NextStep("left", after(number)))
    assert (row(run).state, xcoms(run)["return_value"]) == ("success", RESULT)
    assert f"after-{number}" in airflow.runs("after")


def test_a_task_that_begins_twice_in_this_process_has_begun_once(run: str, task: TaskInstanceDTO) -> None:
    assert begun(task).pod == begun(task).pod
    assert airflow.audit_log(run).count("running") == 1


def test_a_task_ends_once(run: str, number: int, task: TaskInstanceDTO) -> None:
    begun(task)
    end(task, {"result": RESULT}, LEFT)
    with pytest.raises(NotOurs):
        end(task, {"result": {"step": "right"}}, NextStep("right", after(number)))
    assert xcoms(run)["return_value"] == RESULT
    assert f"after-{number}" not in airflow.runs("after")


CHANGES = [
    airflow.clear,
    airflow.marked("success"),
    airflow.marked("failed"),
    airflow.marked("skipped"),
    airflow.delete_run,
    airflow.adopted,
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_written_to_a_task_that_was_changed_meanwhile(
    run: str, number: int, task: TaskInstanceDTO, change: Callable[[Any, Any], None]
) -> None:
    begun(task)
    airflow.change(run, change)
    before = states(run)
    with pytest.raises(NotOurs):
        end(task, {"result": RESULT}, NextStep("left", after(number)))
    with pytest.raises(NotOurs):
        hand_over(task, {"result": RESULT})
    with pytest.raises(NotOurs):
        hand_over(task, None)
    assert (states(run), xcoms(run)) == (before, {})
    assert f"after-{number}" not in airflow.runs("after")
    assert beat([task.id]) == set()


@pytest.mark.parametrize("change", [airflow.clear, *CHANGES[1:]])
def test_a_task_that_was_changed_before_it_begins_does_not_begin(
    run: str, task: TaskInstanceDTO, change: Callable[[Any, Any], None]
) -> None:
    airflow.change(run, change)
    before = states(run)
    with pytest.raises(NotOurs):
        begun(task)
    assert states(run) == before


def test_the_state_of_a_task_is_told_with_whether_it_is_still_this_try(
    run: str, task: TaskInstanceDTO
) -> None:
    assert state_of(task) == (True, "queued")
    begun(task)
    airflow.change(run, airflow.marked("failed"))
    assert state_of(task) == (True, "failed")
    airflow.change(run, airflow.clear)
    assert state_of(task) == (False, None)
    airflow.change(run, airflow.delete_run)
    assert state_of(task) == (False, None)


def test_only_tasks_that_run_in_this_process_beat(run: str, task: TaskInstanceDTO) -> None:
    assert beat([task.id]) == set()
    begun(task)
    first = row(run).last_heartbeat_at
    assert beat([task.id]) == {task.id}
    assert row(run).last_heartbeat_at > first


def test_a_next_run_that_exists_is_for_a_worker(run: str, number: int, task: TaskInstanceDTO) -> None:
    create_run("after", f"after-{number}", {"n": number})
    begun(task)
    with pytest.raises(NeedsWorker, match=f"after-{number} of DAG after exists"):
        end(task, {"result": RESULT}, NextStep("left", after(number)))
    assert (row(run).state, xcoms(run)) == ("running", {})
    hand_over(task, {"result": RESULT})
    handed = row(run)
    assert (handed.state, handed.executor, handed.next_method) == ("scheduled", None, "resume")
    assert handed.next_kwargs == {"event": {"result": RESULT}}
    assert handed.try_number == 1


@pytest.mark.parametrize(
    "step", [NextStep("left", NextRun("no-such-dag", "r", {})), NextStep("nowhere"), NextStep("")]
)
def test_a_step_that_cannot_be_taken_is_for_a_worker(run: str, task: TaskInstanceDTO, step: NextStep) -> None:
    begun(task)
    with pytest.raises(NeedsWorker):
        end(task, {"result": RESULT}, step)
    assert (row(run).state, xcoms(run)) == ("running", {})


def test_a_branch_of_a_task_that_another_is_mapped_over_is_for_a_worker(
    run: str, task: TaskInstanceDTO
) -> None:
    begun(task)
    with pytest.raises(NeedsWorker):
        end(task, {"result": RESULT}, LEFT, is_mapped_over=True)
    assert (row(run).state, xcoms(run)) == ("running", {})


def test_a_label_that_only_a_worker_can_render_is_left_to_it(
    run: str, task: TaskInstanceDTO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SerializedBaseOperator, "map_index_template", "{{ ds }}")
    with pytest.raises(NeedsWorker, match="map_index_template"):
        begun(task)
    assert row(run).state == "queued"


def test_a_worker_takes_the_outcome_that_is_handed_over(run: str, task: TaskInstanceDTO) -> None:
    from airflow.sdk.serde import deserialize

    begun(task)
    outcome = {"error": "exit code 1: →", "refused": False}
    hand_over(task, outcome)
    scheduler = airflow.Scheduler(airflow.Recorder())
    for _ in range(2):
        scheduler.step()
    [taken] = [each.ti for each in scheduler.workers.queued_tasks.values() if each.ti.run_id == run]
    assert (taken.id, taken.try_number) == (task.id, 1)
    kwargs: Any = deserialize(row(run).next_kwargs)
    worker: Any = dag_of_pods().get_task("pod")
    context: Any = {"ti": type("TI", (), {"xcom_push": staticmethod(lambda **_: None)})}
    with pytest.raises(Exception, match="exit code 1: →"):
        worker.resume_execution(row(run).next_method, kwargs, context)


def test_a_worker_executes_a_task_that_is_handed_over_without_an_outcome(
    run: str, task: TaskInstanceDTO
) -> None:
    hand_over(task, None)
    handed = row(run)
    assert (handed.state, handed.executor) == ("scheduled", None)
    assert (handed.next_method, handed.next_kwargs, handed.try_number) == (None, None, 1)


def test_rendered_fields_are_stored_and_secrets_in_them_masked(
    run: str, number: int, task: TaskInstanceDTO
) -> None:
    begun(task)
    with create_session() as session:
        rendered = RenderedTaskInstanceFields.get_templated_fields(row(run), session=session)
    assert rendered == {
        "name": f"pod-{number}",
        "namespace": NAMESPACE,
        "image": "cpu:1",
        "cmds": [],
        "arguments": ["run", str(number)],
        "env_vars": {},
        "labels": {"password": "***"},
        "annotations": {},
        "skip_to": "",
        "kubernetes_conn_id": "kubernetes_default",
    }


@pytest.mark.parametrize("skip_to", ["", "left"])
def test_a_task_that_has_begun_has_the_link_to_its_pod_s_log_if_it_has_a_pod(
    run: str, number: int, task: TaskInstanceDTO, skip_to: str
) -> None:
    pod = (task.executor_config or {})["pod"]
    begin(task, {**pod, "pod_log_url": "https://logs.example/{namespace}/{pod}", "skip_to": skip_to})
    url = f"https://logs.example/{NAMESPACE}/pod-{number}"
    assert xcoms(run) == ({} if skip_to else {LINK_KEY: url})


def test_the_xcoms_of_an_earlier_try_are_gone(run: str, task: TaskInstanceDTO) -> None:
    with create_session() as session:
        identity: Any = {"dag_id": "pods", "run_id": run, "task_id": "pod", "session": session}
        XComModel.set(key="reason", value="an earlier one", **identity)
        XComModel.set(key="return_value", value={"old": 1}, **identity)
    begun(task)
    assert xcoms(run) == {}


def test_an_unknown_parameter_leaves_the_task_queued(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    create_run("pods", f"run-{number}", {"n": number})
    task = queued(f"run-{number}")
    pod = {**(task.executor_config or {})["pod"], "arguments": ["{{ params.missing.more }}"]}
    with pytest.raises(Exception, match="missing"):
        begin(task, pod)
    assert row(f"run-{number}").state == "queued"
    assert airflow.audit_log(f"run-{number}").count("running") == 0
    hand_over(task, None)
    assert row(f"run-{number}").state == "scheduled"


def test_the_functions_of_this_airflow_are_loaded() -> None:
    task_rows.load()
    assert task_rows.is_supported()

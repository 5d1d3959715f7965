"""Begin and end tasks in Airflow's database, without a worker.

It calls the functions of Airflow's Task Execution API, which a worker calls over HTTP: so the checks, the
audit log, assets and rendered fields are the same as with a worker. They are called directly, in a session of
this module's own, so that a task ends, its branch is followed and the next run is triggered in one
transaction. docs/architecture.md has what that saves, measured.

These functions are internal to Airflow: `is_supported` says whether they have been tested with this version
and this kind of database.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow_pods.log_link import LINK_KEY, log_url
from airflow_pods.next_step import NextRun, NextStep
from airflow_pods.progress import PROGRESS_KEY, Progress
from airflow_pods.task_context import NeedsWorker, TemplateTi, params_of
from airflow_pods.templates import KNOWN_WITHOUT_WORKER, PodTemplate
from airflow_pods.trigger import Outcome

if TYPE_CHECKING:
    import jinja2
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun as RunData
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.models.dagbag import DBDagBag
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

LOG = logging.getLogger(__name__)

TESTED_VERSIONS = {"3.3.2"}
"""The versions of Airflow that the tests run with."""
AHEAD = timedelta(seconds=10)
"""How far the last look at a run is set back, to have the run come before those that wait."""


class NotOurs(Exception):
    """The task is no longer this process's: people or another process have changed its row."""


@dataclass(frozen=True)
class Begun:
    """A task that has begun: its pod, with rendered templates, and its run's parameters."""

    pod: PodTemplate
    params: Mapping[str, Any]
    is_mapped_over: bool
    """Whether the result says how often another task is run."""


def is_supported() -> bool:
    """Return whether this version of Airflow, as it is configured, is one that the tests run with."""
    from airflow import __version__
    from airflow.configuration import conf
    from sqlalchemy import make_url

    return (
        __version__ in TESTED_VERSIONS
        and conf.get("core", "xcom_backend") == "airflow.sdk.execution_time.xcom.BaseXCom"
        and make_url(conf.get_mandatory_value("database", "sql_alchemy_conn")).get_backend_name()
        == "postgresql"
    )


def load() -> None:
    """Import what the first task would wait for otherwise."""
    from airflow.api_fastapi.execution_api.routes import task_instances, xcoms  # noqa: F401

    _dag_bag()


def begin(ti: TaskInstanceDTO, pod: Mapping[str, Any]) -> Begun:
    """Set a queued task to running, render its pod's templates and store them.

    Raises NotOurs if the task is not queued. If a template cannot be rendered, raises PodRefused or another
    error, and the task stays queued.
    """
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import TIEnterRunningPayload
    from airflow.api_fastapi.execution_api.routes import task_instances, xcoms
    from airflow.models.xcom import XComModel
    from airflow.sdk.definitions._internal.templater import Templater
    from airflow.utils.platform import getuser
    from airflow.utils.state import TaskInstanceState
    from fastapi import Response
    from sqlalchemy import delete

    payload = TIEnterRunningPayload(
        state=TaskInstanceState.RUNNING,
        hostname=hostname(),
        unixname=getuser(),
        pid=os.getpid(),
        start_date=datetime.now(UTC),
    )
    with transaction() as session:
        begun = task_instances.ti_run(ti.id, payload, Response(), session, _dag_bag(), None, _token(ti.id))
        if begun.xcom_keys_to_clear:
            session.execute(delete(XComModel).where(*identity(XComModel, ti)))
        task, context = _template_context(session, ti, begun.dag_run)
        environment = Templater().get_template_env()
        rendered = PodTemplate(**pod).rendered(context, environment)
        task_instances.ti_put_rtif(ti.id, _rendered_fields(rendered), session)
        if label := _map_index_label(task, context, environment):
            task_instances.ti_patch_rendered_map_index(ti.id, label, session)
        if rendered.pod_log_url and not rendered.skip_to:
            task_path = ti.dag_id, ti.run_id, ti.task_id
            url = log_url(rendered.pod_log_url, rendered.manifest())
            xcoms.set_xcom(*task_path, LINK_KEY, session, url, ti.map_index)
    _call_listeners("on_task_instance_running", ti.id, TaskInstanceState.QUEUED)
    return Begun(rendered, context["params"], next(task.iter_mapped_dependants(), None) is not None)


def pod_of(ti: TaskInstanceDTO, pod: Mapping[str, Any]) -> PodTemplate | None:
    """Return a task's pod with its templates rendered, in whatever state the task is.

    Returns None if the task's run has been deleted. If a template cannot be rendered, raises what `begin`
    raises.
    """
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun as RunData
    from airflow.models.dagrun import DagRun
    from airflow.sdk.definitions._internal.templater import Templater
    from sqlalchemy import select

    with transaction() as session:
        found = select(DagRun).filter_by(dag_id=ti.dag_id, run_id=ti.run_id)
        if (run := session.scalars(found).one_or_none()) is None:
            return None
        _, context = _template_context(session, ti, RunData.model_validate(run))
        return PodTemplate(**pod).rendered(context, Templater().get_template_env())


def _template_context(session: Session, ti: TaskInstanceDTO, run: RunData) -> tuple[Any, Context]:
    """Return a task as the DAG of its run defines it, and what its templates may use."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    row = session.scalars(select(DagRun).filter_by(dag_id=ti.dag_id, run_id=ti.run_id)).one()
    dag: Any = _dag_bag().get_dag_for_run(row, session=session)
    if dag is None:
        raise NeedsWorker("its DAG is not in the database")
    task = dag.get_task(ti.task_id)
    this_task = TemplateTi(ti, session)
    context: Any = {
        "dag": dag,
        "params": params_of(dag, task, row.conf),
        "dag_run": run,
        "run_id": ti.run_id,
        "ti": this_task,
        "task_instance": this_task,
    }
    return task, context


def end(
    ti: TaskInstanceDTO, outcome: Outcome, step: NextStep | None, *, is_mapped_over: bool = False
) -> None:
    """End a running task as a success: its XComs, its branch and the next run, in one transaction.

    Raises NotOurs if the row has been changed, NeedsWorker if the next run exists or cannot be triggered.
    """
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import (
        TISkippedDownstreamTasksStatePayload,
        TISuccessStatePayload,
    )
    from airflow.api_fastapi.execution_api.routes import task_instances, xcoms
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import TaskInstanceState, TerminalTIState
    from sqlalchemy import select

    if is_mapped_over and step is not None:
        raise NeedsWorker("another task is mapped over its result, and it takes a branch")
    task_path = ti.dag_id, ti.run_id, ti.task_id
    with transaction() as session:
        _lock(session, ti.id)
        result = outcome.get("result")
        if result is not None:
            length = len(result) if is_mapped_over else None
            xcoms.set_xcom(*task_path, "return_value", session, result, ti.map_index, mapped_length=length)
        elif "result" in outcome and is_mapped_over:
            raise NeedsWorker("it has no result, and another task is mapped over that")
        if step is not None:
            dag_run = session.scalars(select(DagRun).filter_by(dag_id=ti.dag_id, run_id=ti.run_id)).one()
            if step.trigger:
                _trigger(session, step.trigger, dag_run.triggering_user_name)
            followed, skipped = _branch(
                _dag_bag().get_dag_for_run(dag_run, session=session), ti.task_id, step.task_id
            )
            branch: Any = {"followed": followed}
            xcoms.set_xcom(*task_path, "skipmixin_key", session, branch, ti.map_index)
            skip = TISkippedDownstreamTasksStatePayload(tasks=[(one, ti.map_index) for one in skipped])
            task_instances.ti_skip_downstream(ti.id, skip, session)
        success = TISuccessStatePayload.model_validate(
            {"state": TerminalTIState.SUCCESS, "end_date": datetime.now(UTC)}
        )
        task_instances.ti_update_state(ti.id, success, session, _dag_bag())
        # Committed. The scheduler has something to do now.
        _look_soon(session, ti)
    _call_listeners("on_task_instance_success", ti.id, TaskInstanceState.RUNNING)


def _look_soon(session: Session, ti: TaskInstanceDTO) -> None:
    """Have the scheduler look at the task's run before those that wait, unless it is looking at it now.

    Each loop of the scheduler looks at a few of the runs in progress, and first at those whose last look is
    the longest ago.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select, update

    row = select(DagRun.id).filter_by(dag_id=ti.dag_id, run_id=ti.run_id).with_for_update(skip_locked=True)
    if (found := session.scalar(row)) is not None:
        moment = datetime.now(UTC) - AHEAD
        look = update(DagRun).where(DagRun.id == found).values(last_scheduling_decision=moment)
        session.execute(look, execution_options=UNSYNCHRONIZED)


def hand_over(ti: TaskInstanceDTO, outcome: Outcome | None) -> None:
    """Have a worker end the task: schedule it again, for the default executor.

    With an outcome the worker takes that, as it takes a trigger's event; without one it executes the task
    from the start, and finds the pod by its name. Raises NotOurs if the row has been changed.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.state import TaskInstanceState

    with transaction() as session:
        _lock(session, ti.id, also=TaskInstanceState.QUEUED)
        row = session.get_one(TaskInstance, ti.id)
        row.executor = None
        if outcome is None:
            row.state = TaskInstanceState.SCHEDULED
        else:
            row.next_method, row.next_kwargs = "resume", {}
            handle_event_submit(TriggerEvent(outcome), task_instance=row, session=session)  # type: ignore[no-untyped-call]
        _look_soon(session, ti)


def beat(ids: Collection[UUID]) -> set[UUID]:
    """Store a heartbeat of these tasks; return those that still run in this process."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    statement = update(TaskInstance).where(TaskInstance.id.in_(ids), *_runs_here())
    with transaction() as session:
        beating = statement.values(last_heartbeat_at=datetime.now(UTC)).returning(TaskInstance.id)
        return set(session.scalars(beating, execution_options=UNSYNCHRONIZED))


def store_progress(ti: TaskInstanceDTO, progress: Progress) -> None:
    """Store the progress of a running task's set of pods as an XCom.

    Raises NotOurs if the task no longer runs in this process.
    """
    from airflow.api_fastapi.execution_api.routes import xcoms

    task = ti.dag_id, ti.run_id, ti.task_id
    with transaction() as session:
        _lock(session, ti.id)
        xcoms.set_xcom(*task, PROGRESS_KEY, session, progress.to_json(), ti.map_index)


def state_of(ti: TaskInstanceDTO) -> tuple[bool, str | None]:
    """Return whether the row still has the id of this try, and the state of the task; None if it has none."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    with transaction() as session:
        row = session.execute(
            select(TaskInstance.id, TaskInstance.state).where(*identity(TaskInstance, ti))
        ).one_or_none()
    return (row.id == ti.id, row.state) if row else (False, None)


def hostname() -> str:
    """Return the name by which Airflow knows this machine."""
    from airflow.utils.net import get_hostname

    return str(get_hostname())  # type: ignore[no-untyped-call]


def _call_listeners(hook_name: str, ti_id: UUID, previous: str) -> None:
    """Call the plugins that listen to tasks, if there are any, as the API does when people mark a task."""
    from airflow.listeners.listener import get_listener_manager
    from airflow.models.taskinstance import TaskInstance

    hook = getattr(get_listener_manager().hook, hook_name)
    if not hook.get_hookimpls():
        return
    try:
        with transaction() as session:
            hook(previous_state=previous, task_instance=session.get_one(TaskInstance, ti_id))
    except Exception:
        LOG.exception("A plugin that listens to tasks has failed")


UNSYNCHRONIZED = {"synchronize_session": False}
"""Execution options of an update whose rows no session has loaded."""


@contextmanager
def transaction() -> Iterator[Session]:
    """Yield a session that is committed at the end of the block. The API's refusals become NotOurs."""
    from airflow.utils.session import create_session
    from fastapi import HTTPException

    try:
        with create_session(scoped=False) as session:
            yield session
    except HTTPException as error:
        if error.status_code in (404, 409, 410):
            raise NotOurs(str(error.detail)) from error
        raise


def _lock(session: Session, ti_id: UUID, also: str | None = None) -> None:
    """Lock a task's row. Raises NotOurs unless the task runs in this process, or is in the other state."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_, or_, select

    ours = or_(and_(*_runs_here()), TaskInstance.state == also)
    row = select(TaskInstance.id).where(TaskInstance.id == ti_id, ours).with_for_update(of=TaskInstance)
    if session.execute(row).one_or_none() is None:
        raise NotOurs("the task no longer runs in this process")


def _runs_here() -> tuple[Any, ...]:
    from airflow.models.taskinstance import TaskInstance

    return (
        TaskInstance.state == "running",
        TaskInstance.hostname == hostname(),
        TaskInstance.pid == os.getpid(),
    )


def identity(model: Any, ti: TaskInstanceDTO | TaskInstanceKey) -> tuple[Any, ...]:
    """Return the conditions by which a task, whatever its try, is found in a table."""
    return (
        model.dag_id == ti.dag_id,
        model.run_id == ti.run_id,
        model.task_id == ti.task_id,
        model.map_index == ti.map_index,
    )


def _trigger(session: Session, run: NextRun, user: str | None) -> None:
    """Trigger a DAG run for a user, as the API does, which has no cache of DAGs for it."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    model = session.scalar(select(DagModel).where(DagModel.dag_id == run.dag_id, ~DagModel.is_stale))
    dag = _dag_bag().get_latest_version_of_dag(run.dag_id, session=session)
    kind = DagRunType.OPERATOR_TRIGGERED
    if (
        model is None
        or dag is None
        or model.has_import_errors
        or kind not in (model.allowed_run_types or [kind])
    ):
        raise NeedsWorker(f"DAG {run.dag_id} cannot be triggered")
    if session.scalar(select(DagRun.id).filter_by(dag_id=run.dag_id, run_id=run.run_id)) is not None:
        raise NeedsWorker(f"run {run.run_id} of DAG {run.dag_id} exists")
    now = datetime.now(UTC)
    created = dag.create_dagrun(
        run_id=run.run_id,
        run_after=now,
        conf=dict(run.conf),
        run_type=kind,
        triggered_by=DagRunTriggeredByType.OPERATOR,
        triggering_user_name=user,
        state=DagRunState.QUEUED,
        session=session,
    )
    # Without a time it would come before all others, however long they have waited.
    created.last_scheduling_decision = now - AHEAD


def _branch(dag: Any, task_id: str, follow: str) -> tuple[list[str], list[str]]:
    """Return which tasks directly downstream are followed and which are skipped, as a worker chooses them."""
    if not dag.has_task(follow):
        raise NeedsWorker(f"{follow} is no task")
    kept = {follow, *dag.get_task(follow).get_flat_relative_ids(upstream=False)}
    downstream = sorted(dag.get_task(task_id).downstream_task_ids)
    return [one for one in downstream if one in kept], [one for one in downstream if one not in kept]


def _rendered_fields(pod: PodTemplate) -> dict[str, Any]:
    from airflow.sdk._shared.secrets_masker import redact
    from airflow.serialization.helpers import serialize_template_field

    values = {field: getattr(pod, field) for field in pod.shown_fields()}
    return {field: redact(serialize_template_field(value, field), field) for field, value in values.items()}


def _map_index_label(task: Any, context: Context, environment: jinja2.Environment) -> str:
    """Return what the UI shows instead of the map index; "" if the task does not say."""
    from jinja2.meta import find_undeclared_variables

    template = task.map_index_template
    if not template:
        return ""
    if not find_undeclared_variables(environment.parse(template)) <= KNOWN_WITHOUT_WORKER:
        raise NeedsWorker("its map_index_template uses what only a worker knows")
    return environment.from_string(template).render(context)


@cache
def _dag_bag() -> DBDagBag:
    """Return the cache of serialised DAGs."""
    from airflow.models.dagbag import DBDagBag

    return DBDagBag()


def _token(ti_id: UUID) -> Any:
    from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken

    return TIToken(id=ti_id, claims=TIClaims(scope="execution"))

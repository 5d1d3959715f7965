"""Airflow's own scheduler in this process, step by step; its default executor only records the tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.executor_loader import ExecutorLoader
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.jobs.job import Job, JobState
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.xcom import XComModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule, task_group
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from airflow_pods import NextRun, NextStep, PodOperator
from tests.support.nodeless import NAMESPACE


def branch(result: dict[str, Any]) -> str:
    """Return the task that a result names, as a worker does."""
    return str(result["step"])


def next_step(result: dict[str, Any], params: Mapping[str, Any]) -> NextStep | None:
    """Return what a result says that follows."""
    if result["step"] is None:
        return None
    run = NextRun(result.get("dag", "after"), f"after-{params['n']}", {"n": params["n"] + 1})
    return NextStep(result["step"], run if result.get("run") else None)


def dag_of_pods() -> DAG:
    """Return a DAG: a pod, then the branch ``left`` or ``right``, and ``join`` after both."""
    with DAG("pods", schedule=None, params={"n": 1, "skip": ""}) as dag:
        pod = PodOperator(
            task_id="pod",
            name="pod-{{ params.n }}",
            random_name_suffix=False,
            namespace=NAMESPACE,
            image="cpu:1",
            arguments=["run", "{{ params.n }}"],
            labels={"password": "{{ params.n }}"},
            skip_to="{{ params.skip }}",
            branch=branch,
            next_step=next_step,
        )
        left, right = EmptyOperator(task_id="left"), EmptyOperator(task_id="right")
        join = EmptyOperator(task_id="join", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        pod >> [left, right] >> join
    return dag


def dag_of_mapped_groups() -> DAG:
    """Return a DAG with two groups, each of a pod and the branch ``left`` or ``right``."""
    with DAG("groups", schedule=None) as dag:

        @task_group
        def group(number: int) -> None:
            pod = PodOperator(
                task_id="pod",
                name="pod",
                namespace=NAMESPACE,
                image="cpu:1",
                arguments=["run"],
                branch=branch,
                next_step=next_step,
            )
            pod >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]

        group.expand(number=[1, 2])
    return dag


def dag_with_parameters() -> DAG:
    """Return a DAG with a parameter that has no default, and one that its pod has too."""
    with DAG("parameters", schedule=None, params={"n": Param(type="integer"), "size": 1}) as dag:
        PodOperator(
            task_id="pod",
            name="pod-{{ params.n }}",
            random_name_suffix=False,
            namespace=NAMESPACE,
            image="cpu:1",
            arguments=["{{ params.size }}"],
            params={"size": 2},
        )
    return dag


def dag_of_everything(dag_id: str, *, branches: bool = False, seconds: int = 300) -> DAG:
    """Return a DAG whose pod has all that leaves something in Airflow's database.

    The pod has two tries, which may take that long. Either it takes a branch, or a task is mapped over its
    result.
    """
    with DAG(dag_id, schedule=None, params={"n": 1, "skip": ""}) as dag:
        pod = PodOperator(
            task_id="pod",
            name="everything-{{ params.n }}",
            random_name_suffix=False,
            namespace=NAMESPACE,
            image="cpu:1",
            arguments=["run", "{{ params.n }}"],
            env_vars={"LONG": "long " * 1000, "A": "1"},
            labels={"password": "{{ params.n }}"},
            annotations={"z": "1", "a": "2"},
            skip_to="{{ params.skip }}",
            branch=branch if branches else None,
            next_step=next_step if branches else None,
            map_index_template="pod {{ params.n }}",
            pod_log_url="https://logs.example/{namespace}/{pod}",
            execution_timeout=timedelta(seconds=seconds),
            retries=1,
            retry_delay=timedelta(0),
        )
        if branches:
            pod >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
        else:
            EmptyOperator.partial(task_id="each").expand(doc=pod.output)
    return dag


def dag_with_a_time_limit() -> DAG:
    """Return a DAG whose pod must end within two seconds, and has two tries."""
    with DAG("limited", schedule=None, params={"n": 1}) as dag:
        PodOperator(
            task_id="pod",
            name="limited-{{ params.n }}",
            random_name_suffix=False,
            namespace=NAMESPACE,
            image="cpu:1",
            arguments=["run"],
            execution_timeout=timedelta(seconds=2),
            retries=1,
            retry_delay=timedelta(0),
        )
    return dag


def add_up(total: int | None, result: dict[str, Any]) -> int:
    return (total or 0) + int(result["rows"])


def dag_of_sets() -> DAG:
    """Return a DAG: a task that says how many pods, and as many in each of two mapped groups."""
    with DAG("sets", schedule=None, params={"n": 1}) as dag:
        plan = EmptyOperator(task_id="plan")

        @task_group
        def shard(number: int) -> None:
            PodOperator(
                task_id="work",
                name="set-{{ params.n }}-{{ ti.map_index }}",
                random_name_suffix=False,
                namespace=NAMESPACE,
                image="cpu:1",
                arguments=["--shard", "{{ ti.map_index }}"],
                count=plan.output,
                parallelism=2,
                retries_per_pod=1,
                reduce=add_up,
                retry_delay=timedelta(0),
            )

        shard.expand(number=[1, 2])
    return dag


def dag_without_results() -> DAG:
    """Return a DAG of a pod and a set without results, and of a pod that may leave one."""
    with DAG("silent", schedule=None) as dag:
        pod: Any = {"namespace": NAMESPACE, "image": "cpu:1", "parallelism": 3}
        annotations = {"of": "{{ run_id }}"}
        whole = {"metadata": {"annotations": annotations}}
        PodOperator(task_id="ignored", name="ignored", do_xcom_push=False, pod=whole, **pod)
        PodOperator(task_id="set", name="set", do_xcom_push=False, count=3, **pod)
        PodOperator(task_id="optional", name="optional", **pod)
    return dag


def dag_after() -> DAG:
    """Return the DAG that a pod's result may trigger."""
    with DAG("after", schedule=None, params={"n": 1}) as dag:
        EmptyOperator(task_id="done")
    return dag


class Recorder(BaseExecutor):
    """An executor whose tasks stay queued."""

    def sync(self) -> None:
        """Do nothing."""

    def heartbeat(self) -> None:
        """Do nothing."""

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Keep the tasks queued, as a worker that goes on would."""
        return []


class Scheduler:
    """Airflow's scheduler with an executor for workers' tasks, which are recorded, and one for pods."""

    def __init__(self, pods: BaseExecutor) -> None:
        self.workers, self.pods = Recorder(), pods
        self.workers.name, self.pods.name = ExecutorLoader.get_executor_names(validate_teams=False)
        with create_session() as session:
            job = Job(job_type="SchedulerJob")  # type: ignore[no-untyped-call]
            job.state = JobState.RUNNING
            session.add(job)
            session.commit()
            session.refresh(job)
            session.expunge(job)
        self.job = job
        self.runner = SchedulerJobRunner(job=job, executors=[self.workers, self.pods])
        for executor in (self.workers, self.pods):
            executor.job_id = job.id

    def step(self) -> int:
        """Schedule what is due, give it to the executors, and take what they report.

        Returns how many events they report: without one, Airflow's scheduler sleeps before its next step.
        """
        with create_session() as session:
            self.runner._do_scheduling(session)
        for executor in (self.workers, self.pods):
            executor.heartbeat()
        with create_session() as session:
            return sum(
                self.runner._process_executor_events(executor=executor, session=session)
                for executor in (self.workers, self.pods)
            )

    def worker_ends(self, run_id: str) -> None:
        """Report that the worker which has a run's pod has ended."""
        [key] = [key for key in self.workers.queued_tasks if key.run_id == run_id]
        del self.workers.queued_tasks[key]
        self.workers.change_state(key, TaskInstanceState.SUCCESS)

    def adopt(self) -> None:
        """Take over the tasks of schedulers that have died."""
        with create_session() as session:
            self.runner.adopt_or_reset_orphaned_tasks(session=session)

    def die(self) -> None:
        """Count as dead from now on."""
        with create_session() as session:
            session.get_one(Job, self.job.id).state = JobState.FAILED


def queued(run_id: str) -> TaskInstanceDTO:
    """Have a run's pod queued for PodExecutor; return the task as that executor gets it."""
    scheduler = Scheduler(Recorder())
    for _ in range(3):
        scheduler.step()
    [dto] = [each.ti for each in scheduler.pods.queued_tasks.values() if each.ti.run_id == run_id]
    return dto


def row(run_id: str, task_id: str = "pod", dag_id: str = "pods") -> Any:
    """Return a task's row as it is now."""
    query = select(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id)
    with create_session() as session:
        found = session.scalars(query).one()
        session.expunge_all()
        return found


def change(run_id: str, how: Callable[[Any, Any], None]) -> None:
    """Change the row of a run's pod as people do, while nobody else changes it.

    Airflow's own clearing locks no row: a task that ends between its two steps is left restarting, until
    Airflow misses its heartbeat after some minutes, whether a worker or `PodExecutor` has ended it.
    """
    query = select(TaskInstance).filter_by(dag_id="pods", run_id=run_id, task_id="pod")
    query = query.with_for_update(of=TaskInstance)
    with create_session() as session:
        how(session.scalars(query).one(), session)


def clear(ti: Any, session: Any) -> None:
    """Clear a task."""
    clear_task_instances([ti], session)


def marked(state: str) -> Callable[[Any, Any], None]:
    """Return how people mark a task with that state."""
    return lambda ti, session: ti.set_state(state, session=session)


def delete_run(ti: Any, session: Any) -> None:
    """Delete the task's run."""
    session.delete(session.scalars(select(DagRun).filter_by(dag_id=ti.dag_id, run_id=ti.run_id)).one())


def adopted(ti: Any, _session: Any) -> None:
    """Let another process have begun the task."""
    ti.pid, ti.state = -1, "running"


def begun_by_a_worker(ti: Any, _session: Any) -> None:
    """Let a worker have begun the task."""
    ti.hostname, ti.pid, ti.state = "worker", 1, "running"


def failed_in_a_worker(ti: Any, session: Any) -> None:
    """Let a worker have failed a try that is not the last."""
    ti.prepare_db_for_next_try(session)
    ti.clear_next_method_args()
    ti.state, ti.end_date = "up_for_retry", datetime.now(UTC)


def begun_again_elsewhere(ti: Any, session: Any) -> None:
    """Let another process run the task's next try."""
    ti.prepare_db_for_next_try(session)
    ti.pid, ti.state = -1, "running"


def xcoms(run_id: str, task_id: str = "pod") -> dict[str, Any]:
    """Return a task's XComs."""
    query = select(XComModel).filter_by(dag_id="pods", run_id=run_id, task_id=task_id)
    with create_session() as session:
        return {each.key: XComModel.deserialize_value(each) for each in session.scalars(query)}


def states(run_id: str) -> dict[str, str | None]:
    """Return the states of a run's tasks."""
    query = select(TaskInstance.task_id, TaskInstance.state).filter_by(dag_id="pods", run_id=run_id)
    with create_session() as session:
        return {each.task_id: each.state for each in session.execute(query)}


def audit_log(run_id: str) -> list[str]:
    """Return the events about a run's pod, in order."""
    query = select(Log.event).filter_by(dag_id="pods", run_id=run_id, task_id="pod").order_by(Log.id)
    with create_session() as session:
        return list(session.scalars(query))


def runs(dag_id: str) -> list[str]:
    """Return the ids of a DAG's runs."""
    with create_session() as session:
        return sorted(session.scalars(select(DagRun.run_id).filter_by(dag_id=dag_id)))

"""The pod as an Airflow task, which PodExecutor runs, a worker, or the triggerer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BranchMixIn, XComArg, conf
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pods.errors import PodFailed, PodRefused
from airflow_pods.log_link import LINK_KEY, PodLogLink, check_url, log_url
from airflow_pods.log_tail import log_tail
from airflow_pods.manifest import Manifest
from airflow_pods.next_step import NextStep, name_of
from airflow_pods.parameters import ShapedPod
from airflow_pods.printable import describe, quoted
from airflow_pods.result import IGNORED, NEEDED, OPTIONAL, Result, log_lines
from airflow_pods.task_pods import delete_task_pods
from airflow_pods.templates import RENDERED, TEMPLATED, PodTemplate, Reduce, name_of_task
from airflow_pods.trigger import Outcome, PodTrigger, outcome_of

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


POD_EXECUTOR = "airflow_pods.executor.PodExecutor"
"""The executor of tasks that need no worker, if ``[core] executor`` names it beside the default one."""
OVERRIDABLE = (
    "pre_execute",
    "execute",
    "post_execute",
    "resume",
    "render_template_fields",
    "_do_render_template_fields",
    "manifest",
    "template",
)
"""The methods of which a subclass may have its own, which only a worker calls."""
ON_FINISH_ACTIONS = ("delete_succeeded_pod", "delete_pod", "keep_pod")
REASON_KEY = "reason"
"""The key of the XCom in which a failing task leaves its reason, for the note of its DAG run."""


class PodOperator(ShapedPod, BranchMixIn):
    """Runs one pod; its result is the task's XCom, and a result's field ``sentence`` is logged.

    With ``count`` it runs a set of pods, as a Kubernetes Indexed Job does, and the XCom is a summary.
    pod_set.py has the names, labels and variables of these pods; indexed.py has the summary.

    It has the parameters of `ShapedPod` too, for volumes and all else that a pod can have. Parameters that
    the stock ``KubernetesPodOperator`` has too have the same name and meaning.

    :param name: the pod's name, a DNS label; by default the task's id (templated)
    :param random_name_suffix: add a suffix to the name that is the same in every try of a task, and different
        in every other task and run. Without it the name itself must be so
    :param namespace: the namespace of the pod (templated)
    :param image: the image of the main container (templated)
    :param cmds: the main container's entrypoint, instead of the image's (templated)
    :param arguments: arguments of the entrypoint (templated; or a callable that returns them)
    :param labels: the pod's labels (templated)
    :param annotations: the pod's annotations (templated)
    :param secret_env_vars: environment variables from Secrets in the pod's namespace: a variable's
        (Secret's name, key)
    :param active_deadline_seconds: how long the pod may run; by default what `pod` says, or 600
    :param branch: called with the result; returns the id of the downstream task to follow. Without it, all
        downstream tasks follow
    :param next_step: called with the result and the run's parameters; returns as plain data what `branch`
        would do, so that `PodExecutor` can do it, or None for a result that is for `branch`. A function of a
        module, not of a DAG file
    :param skip_to: if this renders to the id of a downstream task, no pod runs and that task follows
        (templated)
    :param on_refusal: called if the task would fail for good; returns the id of the downstream task to follow
        instead, or "" to fail
    :param skip_on_exit_code: the exit codes of the main container with which the task is skipped
    :param do_xcom_push: True if the container must leave a result, False if it leaves none that counts; by
        default, a result is taken if there is one. `branch`, `next_step` and `reduce` need one
    :param on_finish_action: which pods are deleted when they have finished: ``delete_succeeded_pod``,
        ``delete_pod`` (also those that failed) or ``keep_pod`` (none)
    :param pod_log_url: the URL of the pod's log, for a link in the UI, with ``{namespace}`` and ``{pod}``; by
        default what ``[airflow_pods] pod_log_url`` says in Airflow's settings
    :param count: how many pods the task runs, each with its index in ``JOB_COMPLETION_INDEX``: a number, a
        template, the output of another task, or a callable that gets context and jinja_env. Without it, the
        task runs one pod, without an index
    :param parallelism: how many of these pods are in flight at most; a number or a template
    :param retries_per_pod: how often another pod is created for an index whose pod has failed
    :param max_failed: how many indices may fail before the task does. If it is tried again, the indices that
        have succeeded count
    :param reduce: called with a total, None at first, and a pod's result; returns the new total, which the
        summary has. The order of the pods is not certain
    :param strict_conf: refuse a run whose conf has a key that is not a parameter of its DAG
    :param deferrable: where PodExecutor does not run the task: wait in the triggerer. A worker renders the
        templates before, and takes the result. Otherwise the worker waits
    :param kubernetes_conn_id: the Airflow connection to the cluster (templated)
    """

    # Tells the scheduler to look for the branch that a task has taken in its XCom.
    inherits_from_skipmixin = True
    template_fields: Sequence[str] = TEMPLATED

    def __init__(
        self,
        *,
        name: str | None = None,
        random_name_suffix: bool = True,
        namespace: str | None = None,
        image: str | None = None,
        cmds: Sequence[str] | None = None,
        arguments: Sequence[str] | Callable[..., Sequence[str]] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        secret_env_vars: Mapping[str, tuple[str, str]] | None = None,
        active_deadline_seconds: int | None = None,
        branch: Callable[[Result], str] | None = None,
        next_step: Callable[[Result, Mapping[str, Any]], NextStep | None] | None = None,
        skip_to: str = "",
        on_refusal: Callable[[], str] | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        do_xcom_push: bool | None = None,
        on_finish_action: str = "delete_succeeded_pod",
        pod_log_url: str | None = None,
        count: int | str | XComArg | Callable[..., int] | None = None,
        parallelism: int | str = 16,
        retries_per_pod: int = 0,
        max_failed: int = 0,
        reduce: Reduce | None = None,
        strict_conf: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        kubernetes_conn_id: str = "kubernetes_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(do_xcom_push=do_xcom_push is not False, **kwargs)
        self.name = name or name_of_task(self.task_id)
        self.random_name_suffix = random_name_suffix
        self.namespace = namespace or (self.pod or {}).get("metadata", {}).get("namespace") or ""
        self.image = image or ""
        self.cmds = cmds or []
        self.arguments: Any = arguments or []  # a list of strings once the templates are rendered
        self.labels = labels or {}
        self.annotations = annotations or {}
        self.secret_env_vars = secret_env_vars or {}
        self.active_deadline_seconds = active_deadline_seconds
        self.branch = branch
        self.next_step = next_step
        self.skip_to = skip_to
        self.on_refusal = on_refusal
        codes = [skip_on_exit_code] if isinstance(skip_on_exit_code, int) else skip_on_exit_code
        self.skip_on_exit_code = frozenset(codes or ())
        if branch or next_step or reduce or do_xcom_push:
            self.wanted_result = NEEDED
        else:
            self.wanted_result = OPTIONAL if do_xcom_push is None else IGNORED
        self.on_finish_action = on_finish_action
        self.pod_log_url = (
            conf.get("airflow_pods", "pod_log_url", fallback="") if pod_log_url is None else pod_log_url
        )
        self.count: Any = count  # a number, as text too, once the templates are rendered
        self.parallelism: Any = parallelism
        self.retries_per_pod = retries_per_pod
        self.max_failed = max_failed
        self.reduce = reduce
        self.strict_conf = strict_conf
        self.deferrable = deferrable
        self.kubernetes_conn_id = kubernetes_conn_id
        self.template_fields = self.template().shown_fields()
        self._check()
        self.operator_extra_links = [PodLogLink()] if self.pod_log_url else []
        if self._suits_pod_executor():
            self.executor = POD_EXECUTOR
            self.executor_config = {
                "pod": self.template().to_json(),
                "next_step": name_of(next_step) if next_step else "",
                "execution_timeout": self.execution_timeout and self.execution_timeout.total_seconds(),
            }

    def _check(self) -> None:
        """Raise ValueError, which names the parameter, for what no pod can be made of."""
        if not (self.random_name_suffix or "{" in str(self.name)):
            raise ValueError(
                f"name: {self.name!r} is the same in every run, so a run would take the pod of another one "
                "(put something of the run into it, or leave random_name_suffix as it is)"
            )
        if not self.namespace:
            raise ValueError("namespace: name the pod's namespace")
        if not self.image and not (self.pod and self.pod["spec"]["containers"][0].get("image")):
            raise ValueError("image: name the image of the main container")
        if self.on_finish_action not in ON_FINISH_ACTIONS:
            raise ValueError(
                f"on_finish_action: {self.on_finish_action!r} is none of {', '.join(ON_FINISH_ACTIONS)}"
            )
        check_url(self.pod_log_url)

    def _suits_pod_executor(self) -> bool:
        """Return whether Airflow has `PodExecutor`, and whether that can end the task without a worker."""
        for_workers = (
            self.executor,
            self.executor_config,
            self.on_execute_callback,
            self.on_success_callback,
            self._pre_execute_hook,
            self._post_execute_hook,
            any(getattr(type(self), name) is not getattr(PodOperator, name) for name in OVERRIDABLE),
            self.outlets,
            self.multiple_outputs,
            self.returns_dag_result,
            self.branch and not (self.next_step and name_of(self.next_step)),
            _is_computed(self.arguments),
            callable(self.count),
            self.reduce and not name_of(self.reduce),
        )
        if POD_EXECUTOR not in conf.get("core", "executor") or any(for_workers):
            return False
        return not self.template().needs_worker()

    def template(self) -> PodTemplate:
        """Return the pod as the parameters describe it; without the arguments, if a callable returns them."""
        template = PodTemplate(
            kubernetes_conn_id=self.kubernetes_conn_id,
            name=self.name,
            namespace=self.namespace,
            image=self.image,
            arguments=[] if _is_computed(self.arguments) else list(self.arguments),
            labels=dict(self.labels),
            env_vars=dict(self.env_vars),
            secret_env_vars={variable: list(source) for variable, source in self.secret_env_vars.items()},
            active_deadline_seconds=self.active_deadline_seconds,
            skip_to=self.skip_to,
            strict_conf=self.strict_conf,
            cmds=list(self.cmds),
            annotations=dict(self.annotations),
            pod=self.pod,
            keep=self.on_finish_action == "keep_pod",
            pod_log_url=self.pod_log_url if self.count is None else "",
            count=_count(self.count),
            parallelism=self.parallelism,
            retries_per_pod=self.retries_per_pod,
            max_failed=self.max_failed,
            reduce=name_of(self.reduce) if self.reduce else "",
            random_name_suffix=self.random_name_suffix,
            result=self.wanted_result,
            do_xcom_push=self.do_xcom_push,
        )
        return replace(template, **{field: _as_template(getattr(template, field)) for field in TEMPLATED})

    def manifest(self) -> Manifest:
        """Return the pod's manifest; the templates must be rendered."""
        return self.template().manifest()

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the templates; if that is refused, leave the reason."""
        environment = jinja_env or self.get_template_env()
        try:
            rendered = self.template().rendered(context, environment)
        except PodRefused as error:
            context["ti"].xcom_push(key=REASON_KEY, value=str(error))
            raise
        given = {"context": context, "jinja_env": environment}
        if isinstance(self.arguments, XComArg):
            rendered = replace(rendered, arguments=list(self.arguments.resolve(context)))
        elif callable(self.arguments):
            rendered = replace(rendered, arguments=list(self.arguments(**given)))
        if callable(self.count):
            rendered = replace(rendered, count=self.count(**given))
        for field in (*RENDERED, "random_name_suffix"):
            setattr(self, field, getattr(rendered, field))

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render as Airflow does, which calls this instead of `render_template_fields` for a mapped task.

        ``seen_oids`` has the ids of the values that come from an XCom: their texts are no templates.
        """
        env_vars = self.env_vars
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is not self:
            return
        for one in seen_oids & self._templated_shapes.keys():
            name = self._templated_shapes[one]
            raise PodRefused(f"{name} comes from an XCom, whose texts would be rendered as templates")
        if self._env_vars_id in seen_oids:
            self.env_vars = env_vars
        self.pod = self.render_template(self.pod, context, jinja_env, seen_oids)
        self.name = self.template().name_in(context)
        self.random_name_suffix = False

    def execute(self, context: Context) -> Result | None:
        """Run the pod here, or defer to the triggerer; `resume` takes the outcome of either."""
        if not self.skip_to:
            if self.pod_log_url:
                context["ti"].xcom_push(key=LINK_KEY, value=log_url(self.pod_log_url, self.manifest()))
            # A function of a DAG file is not there in the triggerer.
            if self.deferrable and not (self.reduce and not name_of(self.reduce)):
                self.log.info("%s: the triggerer waits", self.template().title())
                self.defer(trigger=PodTrigger(**self.template().to_json()), method_name="resume")
        outcome = asyncio.run(outcome_of(self.template(), self.log.info, self.reduce))
        return self.resume(context, outcome)

    def resume(self, context: Context, event: Outcome) -> Result | None:
        """Finish the task by the outcome of its pod."""
        match event:
            case {"result": result}:
                return self._take(context, result)
            case {"skip_to": task_id}:
                self._follow(context, task_id)
            case {"error": message, "refused": refused}:
                error = PodRefused(message) if refused else PodFailed(message)
                error.exit_code = event.get("exit_code")
                self._fail(context, error)
        return None

    def _take(self, context: Context, result: Result | None) -> Result | None:
        """Log the result, its field ``sentence`` first if it has one, and follow the branch."""
        for line in log_lines(result):
            self.log.info("%s", line)
        if self.branch is None or result is None:
            return result
        if self.do_xcom_push:
            # Before the branch is taken: where that skips tasks, it ends this one by an exception.
            context["ti"].xcom_push(key="return_value", value=result)
        try:
            task_id = self.branch(result)
        except (LookupError, TypeError) as error:
            # Another pod would leave the same result.
            raise PodRefused(
                f"the pod's result lacks what the task needs: {describe(error)} in {quoted(str(result), 200)}"
            ) from error
        # Here and not in a task of its own: a second task would cost a cycle as much as its pod does.
        self.do_branch(context, task_id)
        return result

    def _fail(self, context: Context, error: PodRefused | PodFailed) -> None:
        """Raise the error and leave its reason, unless the task is skipped or `on_refusal` names the next."""
        if error.exit_code in self.skip_on_exit_code:
            self._delete_failed()
            raise AirflowSkipException(str(error))
        task_id = self.on_refusal() if self.on_refusal and isinstance(error, PodRefused) else ""
        if not task_id:
            context["ti"].xcom_push(key=REASON_KEY, value=str(error))
            if error.exit_code is not None:
                for line in asyncio.run(log_tail(self.kubernetes_conn_id, self.manifest())):
                    self.log.info("%s", line)
            self._delete_failed()
            raise error
        self.log.info("The refusal changes nothing: %s", error)
        asyncio.run(delete_task_pods(self.template()))
        self._follow(context, task_id)

    def _delete_failed(self) -> None:
        if self.on_finish_action == "delete_pod":
            asyncio.run(delete_task_pods(self.template()))

    def _follow(self, context: Context, task_id: str) -> None:
        self.log.info("The next task is %s", task_id)
        self.do_branch(context, task_id)

    def on_kill(self) -> None:
        """Delete the pod of a task that people end."""
        # A signal handler calls this in the thread whose event loop is busy, so another thread has to do it.
        killer = threading.Thread(target=lambda: asyncio.run(delete_task_pods(self.template())), daemon=True)
        killer.start()
        killer.join(timeout=15)


def _count(given: Any) -> int | str | None:
    """Return the number of pods or its template; 0 if a callable returns it."""
    if given is None or type(given) is int:
        return given
    return 0 if callable(given) else str(given)  # of another task's output: the template that pulls it


def _is_computed(arguments: Any) -> bool:
    """Return whether only a worker can tell the list of arguments: a callable, or another task's output."""
    return callable(arguments) or isinstance(arguments, XComArg)


def _as_template(value: Any) -> Any:
    """Return the value with a template for each output of another task in it: the one that pulls it."""
    match value:
        case XComArg():
            return str(value)
        case Mapping():
            return {key: _as_template(one) for key, one in value.items()}
        case list() | tuple():
            return [_as_template(one) for one in value]
    return value

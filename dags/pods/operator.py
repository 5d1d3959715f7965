"""The pod as an Airflow task: waited for in a worker, or in the triggerer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BranchMixIn
from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TriggerEvent

from dags.pods.manifest import Manifest, manifest_of
from dags.pods.printable import describe, printable, quoted
from dags.pods.result import Result
from dags.pods.runner import delete_by_name, run_pod
from dags.pods.status import PodFailed, PodRefused
from dags.pods.templates import needs_worker, render

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


WHY = "why"
"""The XCom by which a task whose pod came to nothing says why: the note of its DAG run."""


async def event_of(conn_id: str, instead: str, manifest: Manifest) -> dict[str, Any]:
    """Return what the pod comes to: ``{"result": …}``, or ``{"error": sentence, "refused": bool}``; or, where
    there is a task to follow instead, ``{"instead": task id}`` and no pod.
    """
    if instead:
        return {"instead": instead}
    try:
        return {"result": await run_pod(conn_id, manifest)}
    except (PodFailed, PodRefused) as error:
        return error_event(error)


def error_event(error: PodFailed | PodRefused) -> dict[str, Any]:
    return {"error": str(error), "refused": isinstance(error, PodRefused)}


class PodTrigger(BaseTrigger):
    """Runs the pod in the triggerer: 400 pods in flight need no workers.

    Takes what the operator takes. The scheduler hands a task over without a worker, and the templates are
    rendered here; what a worker hands over is ``rendered``. The one event is :func:`event_of`'s, whatever
    goes wrong: a trigger that ends without an event, or never, ends its task without a reason, or never.
    """

    def __init__(
        self,
        conn_id: str,
        pod_name: str,
        args: Sequence[str],
        labels: Mapping[str, str],
        instead: str,
        rendered: bool = False,
        strict_conf: bool = False,
        **others: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.pod_name = pod_name
        self.args = args
        self.labels = labels
        self.instead = instead
        self.rendered = rendered
        self.strict_conf = strict_conf
        self.others = others
        self._context: Context | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        templates = {"pod_name": self.pod_name, "args": self.args, "labels": self.labels}
        own = {"conn_id": self.conn_id, "instead": self.instead, "rendered": self.rendered}
        kwargs = {**own, "strict_conf": self.strict_conf, **templates, **self.others}
        return "dags.pods.operator.PodTrigger", kwargs

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Keep the context until the trigger runs, and can tell what is wrong with a template."""
        self._context = context

    def manifest(self) -> Manifest:
        return manifest_of(name=self.pod_name, args=self.args, labels=self.labels, **self.others)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            if self._context is not None and not self.rendered:
                render(self, self._context, self.get_template_env())
                self.rendered = True
            event = await event_of(self.conn_id, self.instead, self.manifest())
        except PodRefused as error:
            event = error_event(error)
        except Exception as error:
            self.log.exception("The pod can't be waited for")
            event = error_event(PodFailed(f"the pod can't be waited for: {describe(error)}"))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        if not self.instead:
            await delete_by_name(self.conn_id, self.manifest())


class PodOperator(BaseOperator, BranchMixIn):
    """Runs one pod; its result is the task's XCom.

    :param name: the pod's name, a DNS label that is the same in every try (templated)
    :param args: arguments for the image's entrypoint (templated; or a callable that makes them)
    :param branch: given the result, does what is due and says which downstream task to follow; without it
        all are
    :param instead: where this renders to a downstream task's id, no pod runs and that task is followed
        (templated)
    :param refused: asked where the pod refuses what it is to do: which downstream task to follow all the
        same, or nothing, and the task fails
    :param strict_conf: refuse a run whose conf has a key that is no parameter of the DAG
    :param deferrable: wait in the triggerer rather than in a worker; a worker only takes the result, and
        begins the task where only a worker can: where it is mapped, its args are made by a callable, or its
        templates name more than ``params``, ``dag_run`` and ``run_id``

    For the other parameters see :func:`dags.pods.manifest.manifest_of`.
    """

    # The scheduler reads what a task chose from its XCom, for classes that say so. The branch is taken
    # here, not in a task of its own, because every task of a cycle costs as much as the pod does.
    inherits_from_skipmixin = True
    template_fields: Sequence[str] = ("pod_name", "args", "labels", "instead")

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        image: str,
        args: Sequence[str] | Callable[..., Sequence[str]],
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        secret_env: Mapping[str, tuple[str, str]] | None = None,
        deadline_seconds: int = 600,
        branch: Callable[[Result], str] | None = None,
        instead: str = "",
        refused: Callable[[], str] | None = None,
        strict_conf: bool = False,
        deferrable: bool = False,
        conn_id: str = "kubernetes_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pod_name = name
        self.namespace = namespace
        self.image = image
        self.args = args
        self.labels = labels or {}
        self.env = env or {}
        self.secret_env = secret_env or {}
        self.deadline_seconds = deadline_seconds
        self.branch = branch
        self.instead = instead
        self.refused = refused
        self.strict_conf = strict_conf
        self.conn_id = conn_id
        self.deferrable = deferrable
        if deferrable and not callable(args) and not self.needs_worker([name, *args]):
            # The scheduler hands the task over by itself: no worker has to begin it.
            trigger_cls, trigger_kwargs = self.trigger(rendered=False).serialize()
            self.start_from_trigger = True
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=trigger_cls, trigger_kwargs=trigger_kwargs, next_method="resume"
            )

    def needs_worker(self, templates: Sequence[str]) -> bool:
        """Whether the triggerer could not render the templates."""
        # A parameter without a default ends the triggerer, with all that it waits for.
        params: Any = [self.params, *([self.dag.params] if self.has_dag() else [])]  # type: ignore[no-untyped-call]
        return needs_worker([*templates, *self.labels.values(), self.instead]) or any(
            not one.get_param(name).has_value for one in params for name in one
        )

    def trigger(self, rendered: bool) -> PodTrigger:
        return PodTrigger(
            conn_id=self.conn_id,
            pod_name=self.pod_name,
            args=list(self.made_args()),
            labels=dict(self.labels),
            instead=self.instead,
            rendered=rendered,
            strict_conf=self.strict_conf,
            **self.others(),
        )

    def others(self) -> dict[str, Any]:
        """What :func:`manifest_of` asks for beside the templates."""
        return {
            "namespace": self.namespace,
            "image": self.image,
            "env": dict(self.env),
            "secret_env": {variable: list(source) for variable, source in self.secret_env.items()},
            "deadline_seconds": self.deadline_seconds,
        }

    def made_args(self) -> Sequence[str]:
        if callable(self.args):
            raise TypeError("args are made when the task's templates are rendered")
        return self.args

    def manifest(self) -> Manifest:
        return manifest_of(name=self.pod_name, args=self.made_args(), labels=self.labels, **self.others())

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        try:
            render(self, context, jinja_env or self.get_template_env())
        except PodRefused as error:
            context["ti"].xcom_push(key=WHY, value=str(error))
            raise

    def execute(self, context: Context) -> Result | None:
        if not self.instead:
            self.log.info("Pod %s in namespace %s", self.pod_name, self.namespace)
            if self.deferrable:
                self.defer(trigger=self.trigger(rendered=True), method_name="resume")
        return self.resume(context, asyncio.run(event_of(self.conn_id, self.instead, self.manifest())))

    def resume(self, context: Context, event: dict[str, Any]) -> Result | None:
        """Go on where the pod has ended."""
        if "result" in event:
            return self.take(context, event["result"])
        if "instead" in event:
            self.follow(context, event["instead"])
        else:
            kind = PodRefused if event["refused"] else PodFailed
            self.give_up(context, kind(event["error"]))
        return None

    def give_up(self, context: Context, error: PodRefused | PodFailed) -> None:
        """Fail, unless somebody else has done already what the pod refuses to do again."""
        task_id = self.refused() if self.refused and isinstance(error, PodRefused) else ""
        if not task_id:
            context["ti"].xcom_push(key=WHY, value=str(error))
            raise error
        self.log.info("Nothing to do any more: %s", error)
        asyncio.run(delete_by_name(self.conn_id, self.manifest()))
        self.follow(context, task_id)

    def follow(self, context: Context, task_id: str) -> None:
        self.log.info("On with %s", task_id)
        self.do_branch(context, task_id)

    def take(self, context: Context, result: Result) -> Result:
        """Log the result, its field `sentence` first if it has one, and follow the branch it leads to."""
        if isinstance(sentence := result.get("sentence"), str) and sentence:
            self.log.info("%s", printable(sentence))
        self.log.info("%s", printable(json.dumps(result, ensure_ascii=False), 5000))
        if self.branch is None:
            return result
        # Pushed before the branch: choosing ends the task by an exception when it skips others.
        context["ti"].xcom_push(key="return_value", value=result)
        try:
            chosen = self.branch(result)
        except (LookupError, TypeError) as error:
            # Another pod would leave the same.
            raise PodRefused(
                f"the pod's result lacks what the task needs: {describe(error)} in {quoted(str(result), 200)}"
            ) from error
        self.do_branch(context, chosen)
        return result

    def on_kill(self) -> None:
        # Called from a signal handler, in the thread whose event loop is at work: so another thread's.
        killer = threading.Thread(
            target=lambda: asyncio.run(delete_by_name(self.conn_id, self.manifest())), daemon=True
        )
        killer.start()
        killer.join(timeout=15)

"""The pod as an Airflow task: waited for in a worker, or in the triggerer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BranchMixIn
from airflow.triggers.base import BaseTrigger, TriggerEvent

from dags.pods.manifest import Manifest, manifest_of
from dags.pods.run import delete_by_name, run_pod
from dags.pods.status import PodFailed, PodRefused, Result

if TYPE_CHECKING:
    from airflow.sdk import Context


class PodTrigger(BaseTrigger):
    """Runs the pod in the triggerer: 400 pods in flight need no workers.

    Its one event is ``{"result": …}``, or ``{"error": sentence, "refused": bool}``.
    """

    def __init__(self, conn_id: str, manifest: Manifest) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.manifest = manifest

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "dags.pods.operator.PodTrigger", {"conn_id": self.conn_id, "manifest": self.manifest}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        event: dict[str, Any]
        try:
            event = {"result": await run_pod(self.conn_id, self.manifest)}
        except (PodFailed, PodRefused) as error:
            event = {"error": str(error), "refused": isinstance(error, PodRefused)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        await delete_by_name(self.conn_id, self.manifest)


class PodOperator(BaseOperator, BranchMixIn):
    """Runs one pod; its result is the task's XCom.

    :param name: the pod's name, a DNS label that is the same in every try (templated)
    :param args: arguments for the image's entrypoint (templated; or a callable that makes them)
    :param branch: given the result, says which downstream task to follow; without it all are
    :param deferrable: wait in the triggerer rather than in a worker

    For the other parameters see :func:`dags.pods.manifest.manifest_of`.
    """

    # The scheduler reads what a task chose from its XCom, for classes that say so. The branch is taken
    # here, not in a task of its own, because every task of a cycle costs as much as the pod does.
    inherits_from_skipmixin = True
    template_fields: Sequence[str] = ("pod_name", "args", "labels")

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
        self.deferrable = deferrable
        self.conn_id = conn_id

    def manifest(self) -> Manifest:
        if callable(self.args):
            raise TypeError("args are made when the task's templates are rendered")
        return manifest_of(
            self.pod_name,
            self.namespace,
            self.image,
            self.args,
            self.labels,
            self.env,
            self.secret_env,
            self.deadline_seconds,
        )

    def execute(self, context: Context) -> Result:
        manifest = self.manifest()
        self.log.info("Pod %s in namespace %s", self.pod_name, self.namespace)
        if self.deferrable:
            self.defer(trigger=PodTrigger(self.conn_id, manifest), method_name="resume")
        return self.take(context, asyncio.run(run_pod(self.conn_id, manifest)))

    def resume(self, context: Context, event: dict[str, Any]) -> Result:
        """Go on where the trigger ended."""
        if "error" in event:
            raise (PodRefused if event["refused"] else PodFailed)(event["error"])
        return self.take(context, event["result"])

    def take(self, context: Context, result: Result) -> Result:
        """Log the result, which is the pod's output, and follow the branch it leads to."""
        self.log.info("%s", json.dumps(result, ensure_ascii=False))
        if self.branch is None:
            return result
        # Pushed before the branch: choosing ends the task by an exception when it skips others.
        context["ti"].xcom_push(key="return_value", value=result)
        self.do_branch(context, self.branch(result))
        return result

    def on_kill(self) -> None:
        # Called from a signal handler, in the thread whose event loop is at work: so another thread's.
        killer = threading.Thread(
            target=lambda: asyncio.run(delete_by_name(self.conn_id, self.manifest())), daemon=True
        )
        killer.start()
        killer.join(timeout=15)

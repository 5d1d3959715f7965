"""The pod in the triggerer: hundreds of pods in flight need no workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_pods.errors import PodFailed, PodRefused
from airflow_pods.manifest import Manifest, manifest_of
from airflow_pods.printable import describe
from airflow_pods.runner import delete_by_name, run_pod
from airflow_pods.templates import render

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

Outcome = dict[str, Any]
"""What became of a task's pod, as plain data for a trigger's event: one of

- ``{"result": the pod's result}``
- ``{"skip_to": task id}``: no pod ran, and that task is next
- ``{"error": message, "refused": whether another try cannot help}``
"""


async def outcome_of(conn_id: str, manifest: Manifest, skip_to: str) -> Outcome:
    """Run the pod and return its outcome; with ``skip_to``, run none."""
    if skip_to:
        return {"skip_to": skip_to}
    try:
        return {"result": await run_pod(conn_id, manifest)}
    except (PodFailed, PodRefused) as error:
        return error_outcome(error)


def error_outcome(error: PodFailed | PodRefused) -> Outcome:
    """Return the outcome of a pod that gave no result."""
    return {"error": str(error), "refused": isinstance(error, PodRefused)}


class PodTrigger(BaseTrigger):
    """Runs a pod in the triggerer; its one event is the pod's `Outcome`, whatever goes wrong.

    A trigger that ends without an event would fail its task without a reason; one that never ends would leave
    it waiting.

    :param name, arguments, labels, skip_to: as the operator's; templates, unless ``rendered``
    :param rendered: a worker has rendered the templates already; otherwise the scheduler has started the
        trigger, and it renders them itself
    :param manifest_options: what `manifest_of` takes beside name, arguments and labels
    """

    def __init__(
        self,
        *,
        kubernetes_conn_id: str,
        name: str,
        arguments: Sequence[str],
        labels: Mapping[str, str],
        skip_to: str,
        strict_conf: bool = False,
        rendered: bool = False,
        **manifest_options: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kubernetes_conn_id = kubernetes_conn_id
        self.name = name
        self.arguments = arguments
        self.labels = labels
        self.skip_to = skip_to
        self.strict_conf = strict_conf
        self.rendered = rendered
        self.manifest_options = manifest_options
        self._context: Context | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger again."""
        return f"{PodTrigger.__module__}.{PodTrigger.__qualname__}", {
            "kubernetes_conn_id": self.kubernetes_conn_id,
            "name": self.name,
            "arguments": self.arguments,
            "labels": self.labels,
            "skip_to": self.skip_to,
            "strict_conf": self.strict_conf,
            "rendered": self.rendered,
            **self.manifest_options,
        }

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Keep the context: templates are rendered by `run`, which can report what is wrong with them."""
        self._context = context

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the outcome of the pod."""
        try:
            if self._context is not None and not self.rendered:
                render(self, self._context, self.get_template_env())
                self.rendered = True
            outcome = await outcome_of(self.kubernetes_conn_id, self.manifest(), self.skip_to)
        except PodRefused as error:
            outcome = error_outcome(error)
        except Exception as error:
            self.log.exception("The pod can't be waited for")
            outcome = error_outcome(PodFailed(f"the pod can't be waited for: {describe(error)}"))
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Delete the pod of a task that people end."""
        if not self.skip_to:
            await delete_by_name(self.kubernetes_conn_id, self.manifest())

    def manifest(self) -> Manifest:
        """Return the pod's manifest; the templates must be rendered."""
        return manifest_of(
            name=self.name, arguments=self.arguments, labels=self.labels, **self.manifest_options
        )

"""The pod in the triggerer: hundreds of pods in flight need no workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_pods.errors import PodFailed, PodRefused
from airflow_pods.printable import describe
from airflow_pods.task_pods import delete_task_pods, task_result
from airflow_pods.templates import PodTemplate, Reduce

Outcome = dict[str, Any]
"""What became of a task's pods, as plain data for a trigger's event: one of

- ``{"result": the pod's result, or the summary of a set}``; None if the pod left no result and need not
- ``{"skip_to": task id}``: no pod ran, and that task is next
- ``{"error": message, "refused": whether another try cannot help}``, and the main container's ``exit_code``
  if it has ended
"""


async def outcome_of(
    pod: PodTemplate, write: Callable[[str], object], reduce: Reduce | None = None
) -> Outcome:
    """Run the pods of a task, whose templates are rendered, and return their outcome; see `task_result`."""
    if pod.skip_to:
        return {"skip_to": pod.skip_to}
    try:
        async with task_result(pod, write, reduce=reduce) as result:
            return {"result": result}
    except (PodFailed, PodRefused) as error:
        return error_outcome(error)


def error_outcome(error: PodFailed | PodRefused) -> Outcome:
    """Return the outcome of a pod that gave no result."""
    outcome: Outcome = {"error": str(error), "refused": isinstance(error, PodRefused)}
    return outcome if error.exit_code is None else {**outcome, "exit_code": error.exit_code}


class PodTrigger(BaseTrigger):
    """Runs a pod in the triggerer; its one event is the pod's `Outcome`, whatever goes wrong.

    A trigger that ends without an event would fail its task without a reason; one that never ends would leave
    it waiting.

    :param pod: the fields of a `PodTemplate` that a worker has rendered
    """

    def __init__(self, **pod: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pod = PodTemplate(**pod)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger again."""
        return f"{PodTrigger.__module__}.{PodTrigger.__qualname__}", self.pod.to_json()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the outcome of the pod."""
        try:
            outcome = await outcome_of(self.pod, self.log.info)
        except Exception as error:
            self.log.exception("The pod can't be waited for")
            outcome = error_outcome(PodFailed(f"the pod can't be waited for: {describe(error)}"))
        yield TriggerEvent(outcome)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Delete the pod of a task that people end."""
        await delete_task_pods(self.pod)

"""What tasks post to Slack, or to their own log, and when a failed post is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from dags.outage import Outage
    from scripts.slack.messages import Message


class SlackRetryPolicy(RetryPolicy):
    """Retry after the pause that Slack asks for; if it asks for none, with the task's own delay."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        from scripts.slack.errors import SlackUnavailable

        if isinstance(exception, SlackUnavailable) and exception.wait is not None:
            return RetryDecision.retry(timedelta(seconds=exception.wait), "Slack asks for a pause")
        return RetryDecision.default()


RETRIES = 15
"""Retries of a task that posts: enough for ten minutes without Slack, as nobody else posts its message."""
NOT_POSTED = "The message is in this task's log; clear the task to post it"
CLEAR_TASK = "Correct the cause, then clear the task, or start the program again"


def post_answer(result: dict[str, Any], context: Context) -> dict[str, Any]:
    """Post the answer in a result to its start run's thread, only once; return where it was posted.

    Raises AirflowFailException if Slack refuses it, and SlackUnavailable if a later try may succeed.
    """
    from scripts.slack.messages import Answer, answer_message

    start = result["start"]
    answer = Answer.from_result(result, _link(context), since=_since(start, context))
    # Part 1 is answered early; a picture is worth it only when the start run is over.
    is_last = answer.verdict != "part1"
    return _post(answer_message(answer), (lambda: draw_picture(start)) if is_last else None)


def post_start(
    start: str, program: str, instructions: int, cpus: int, cycles: int, context: Context
) -> dict[str, Any]:
    """Post that a start run has begun, which begins its thread. Returns and raises as `post_answer`."""
    from scripts.slack.messages import start_message

    since = _since(start, context)
    return _post(start_message(start, program, instructions, cpus, cycles, _link(context), since))


def post_failure(start: str, context: Context, remedy: str = CLEAR_TASK) -> None:
    """Post that this task has failed for good, with the cause and a remedy."""
    from scripts.slack.messages import failure_message

    ti, error = context["ti"], context.get("exception")
    cause = str(error or "") or (type(error).__name__ if error else "its process is gone: see its log")
    run, link, since = context["dag_run"].run_id, _link(context), _since(start, context)
    _deliver(failure_message(start, ti.dag_id, run, ti.task_id, _masked(cause), remedy, link, since))


def post_outage(start: str, task: str, cause: str, outage: Outage, problem: str, context: Context) -> None:
    """Post that the watchdog of a start run fails, once for each problem of an outage."""
    from scripts.slack.messages import outage_message

    link, since = _link(context), _since(start, context)
    _deliver(outage_message(start, task, _masked(cause), outage.began, problem, link, since))


def post_recovery(
    start: str, outage: Outage, now: datetime, context: Context, *, is_gone: bool = False
) -> None:
    """Post once that the watchdog of a start run works again; `is_gone`: it has nothing left to watch."""
    from scripts.slack.messages import recovery_message

    seconds, link, since = now.timestamp() - outage.since, _link(context), _since(start, context)
    _post(recovery_message(start, outage.began, seconds, is_gone, link, since))


def start_time(start: str, default: datetime) -> datetime:
    """Return when a start run began, which its name says; the default if a person chose the name."""
    try:
        return datetime.strptime(start[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return default


def draw_picture(start: str) -> bytes | None:
    """Return a picture of the start run as a PNG file, or None if it cannot be drawn."""
    from scripts.report.picture import png_or_none

    return png_or_none(start)


def _since(start: str, context: Context) -> float:
    """Return a time before which nothing was posted about a start run, in seconds since 1970."""
    return start_time(start, context["dag_run"].run_after).timestamp()


def _link(context: Context) -> str:
    from airflow.sdk import conf

    from scripts.slack.messages import dag_run_link

    run = context["dag_run"]
    base_url = conf.get("api", "base_url", fallback="http://localhost:8080")
    return dag_run_link(base_url, run.dag_id, run.run_id)


def _masked(text: str) -> str:
    """Return the text with Airflow's secrets masked, as in a log. Nothing else masks what goes to Slack."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return str(redact(text))


def _deliver(message: Message, make_picture: Callable[[], bytes | None] | None = None) -> dict[str, Any]:
    """Post to Slack by the Airflow connection, or only log if there is none."""
    from scripts import slack_notify
    from scripts.slack.connection import connection

    return dict(slack_notify.notify(message, connection(), make_picture))


def _post(message: Message, make_picture: Callable[[], bytes | None] | None = None) -> dict[str, Any]:
    """Deliver a message; fail the task at once if Slack refuses it."""
    from airflow.sdk.exceptions import AirflowFailException

    from scripts.slack.errors import SlackRefused, SlackUnavailable

    try:
        return _deliver(message, make_picture)
    except SlackRefused as error:
        raise AirflowFailException(f"{error}. {NOT_POSTED}") from error
    except SlackUnavailable as error:
        raise SlackUnavailable(f"{error}. {NOT_POSTED}", error.wait) from error

"""How a task tells people: from what it knows to Slack, or to the task's log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from dags.outage import Outage
    from scripts.slack.messages import Message


class AsSlackAsks(RetryPolicy):
    """The next try begins when the pause that Slack has asked for is over, or else as soon as any task's."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        from scripts.slack.errors import SlackAway

        if isinstance(exception, SlackAway) and exception.wait is not None:
            return RetryDecision.retry(timedelta(seconds=exception.wait), "Slack has asked for a pause")
        return RetryDecision.default()


# More than other tasks', over ten minutes or so: where Slack stays away, nobody comes to know.
TRIES = 15
KEPT = "What was to be told is in this log; clearing this task posts it"


def begin_of(start: str, otherwise: datetime) -> datetime:
    """When a start run began, by its name; before that nobody can have told anything of it.

    A name that somebody chose by hand does not say.
    """
    try:
        return datetime.strptime(start[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return otherwise


def tell(result: dict[str, Any], context: Context) -> dict[str, Any]:
    """Post the answer that the result holds, in its start run's thread, once; where it is is returned.

    What Slack refuses fails the task at once, with the remedy; when Slack is away the task is tried again.
    """
    from scripts.slack.messages import News, message

    start = result["start"]
    news = News.of(result, link_of(context), since=since(start, context))
    # Part 1 comes early on: the run is worth a picture when it is over.
    over = news.verdict != "part1"
    return post(message(news), (lambda: picture_of(start)) if over else None)


def tell_start(
    start: str, program: str, instructions: int, cpus: int, cycles: int, context: Context
) -> dict[str, Any]:
    """Post that a start run has begun, which begins its thread; everything else as with an answer."""
    from scripts.slack.messages import started

    told_since = since(start, context)
    return post(started(start, program, instructions, cpus, cycles, link_of(context), told_since))


def tell_failure(start: str, context: Context) -> None:
    """Post that this task has failed for good, and why; Airflow logs what goes wrong with that."""
    from scripts.slack import messages

    task, error = context["ti"], context.get("exception")
    said = str(error or "") or (type(error).__name__ if error else "its process is gone: see its log")
    run, link = context["dag_run"].run_id, link_of(context)
    told_since = since(start, context)
    deliver(messages.failed(start, task.dag_id, run, task.task_id, masked(said), link, told_since))


def tell_outage_began(
    start: str, task: str, why: str, outage: Outage, trouble: str, context: Context
) -> None:
    """Post that the watchdog over a start run has begun to fail, once for each trouble of an outage."""
    from scripts.slack.messages import outage_began

    link, told_since = link_of(context), since(start, context)
    deliver(outage_began(start, task, masked(why), outage.began, trouble, link, told_since))


def tell_outage_ended(
    start: str, outage: Outage, now: datetime, context: Context, *, is_gone: bool = False
) -> None:
    """Post that the watchdog over a start run works again, once; `is_gone`: it has nothing left to watch."""
    from scripts.slack.messages import outage_ended

    seconds, link, told_since = now.timestamp() - outage.since, link_of(context), since(start, context)
    post(outage_ended(start, outage.began, seconds, is_gone, link, told_since))


def masked(text: str) -> str:
    """Return the text as a log would show it: nothing else masks what goes to Slack."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return str(redact(text))


def since(start: str, context: Context) -> float:
    """A moment before anybody was told anything of a start run, in seconds since 1970."""
    return begin_of(start, context["dag_run"].run_after).timestamp()


def link_of(context: Context) -> str:
    """The address of this DAG run in Airflow's UI."""
    from airflow.sdk import conf

    from scripts.slack.messages import dag_run_link

    run = context["dag_run"]
    base_url = conf.get("api", "base_url", fallback="http://localhost:8080")
    return dag_run_link(base_url, run.dag_id, run.run_id)


def picture_of(start: str) -> bytes | None:
    """A picture of the start run; None where it cannot be had."""
    from scripts.report.picture import png_or_none

    return png_or_none(start)


def deliver(message: Message, picture: Callable[[], bytes | None] | None = None) -> dict[str, Any]:
    """Post to where the Airflow connection leads, or log where there is none."""
    from scripts import slack_notify
    from scripts.slack.connection import connection

    return dict(slack_notify.notify(message, connection(), picture))


def post(message: Message, picture: Callable[[], bytes | None] | None = None) -> dict[str, Any]:
    """Post, and put what goes wrong in the words that Airflow knows."""
    from airflow.sdk.exceptions import AirflowFailException

    from scripts.slack.errors import SlackAway, SlackRefused

    try:
        return deliver(message, picture)
    except SlackRefused as error:
        raise AirflowFailException(f"{error}. {KEPT}") from error
    except SlackAway as error:
        raise SlackAway(f"{error}. {KEPT}", error.wait) from error

"""How a task tells people: from a pod's result to Slack, or to the task's log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context


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
KEPT = "The answer is kept in this log and in the XCom of the task before; clearing this task posts it"


def begin_of(start: str, otherwise: datetime) -> datetime:
    """When a start run began, by its name; before that nobody can have told anything of it.

    A name that somebody chose by hand does not say.
    """
    try:
        return datetime.strptime(start[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return otherwise


def tell(result: dict[str, Any], context: Context) -> dict[str, Any]:
    """Post what the result says, with a link to this DAG run, once; where it is is returned.

    What Slack refuses fails the task at once, with the remedy; when Slack is away the task is tried again.
    """
    from airflow.sdk import conf
    from airflow.sdk.exceptions import AirflowFailException

    from scripts import messages, slack_notify
    from scripts.slack.connection import connection
    from scripts.slack.errors import SlackAway, SlackRefused

    run = context["dag_run"]
    link = messages.dag_run_link(
        conf.get("api", "base_url", fallback="http://localhost:8080"), run.dag_id, run.run_id
    )
    since = begin_of(result["start"], run.run_after)
    news = messages.News.of(result, link, since=since.timestamp())
    try:
        return dict(slack_notify.notify(messages.message(news), connection()))
    except SlackRefused as error:
        raise AirflowFailException(f"{error}. {KEPT}") from error
    except SlackAway as error:
        raise SlackAway(f"{error}. {KEPT}", error.wait) from error

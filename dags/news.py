"""How a task tells people: from a pod's result to Slack, or to the task's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


def tell(result: dict[str, Any], context: Context) -> dict[str, Any]:
    """Post what the result says, with a link to this DAG run; where it went is returned.

    What Slack refuses fails the task at once, with the remedy; when Slack is away the task is tried again.
    """
    from airflow.sdk import conf
    from airflow.sdk.exceptions import AirflowFailException

    from scripts import messages
    from scripts import slack_notify as slack

    run = context["dag_run"]
    link = messages.dag_run_link(
        conf.get("api", "base_url", fallback="http://localhost:8080"), run.dag_id, run.run_id
    )
    try:
        return dict(slack.notify(messages.message(messages.News.of(result, link)), slack.connection()))
    except slack.SlackRefused as error:
        raise AirflowFailException(str(error)) from error

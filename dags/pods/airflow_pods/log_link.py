"""A link from a task in Airflow's UI to the log of its pod, wherever a cluster keeps logs."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow_pods.manifest import Manifest

LINK_KEY = "_link_pod_log"
"""The key of the XCom that holds the link's URL."""
_FIELDS = {"namespace", "pod"}


class PodLogLink(BaseOperatorLink):
    """The link itself. A task has it if it knows a URL."""

    name = "Pod log"
    xcom_key = LINK_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL of the log; a worker calls this when the task ends."""
        return str(log_url(operator.pod_log_url, operator.manifest()))


def check_url(template: str) -> None:
    """Raise ValueError unless the template of a URL has no fields but ``{namespace}`` and ``{pod}``."""
    try:
        unknown = {field for _, field, _, _ in Formatter().parse(template) if field is not None} - _FIELDS
    except ValueError as error:
        raise ValueError(f"pod_log_url: {template!r} is no template: {error}") from error
    if unknown:
        raise ValueError(f"pod_log_url: {{{min(unknown)}}} is unknown; it may have {{namespace}} and {{pod}}")


def log_url(template: str, manifest: Manifest) -> str:
    """Return the URL of a pod's log.

    >>> log_url("https://logs.example/{namespace}/{pod}", {"metadata": {"name": "a", "namespace": "b"}})
    'https://logs.example/b/a'
    """
    metadata = manifest["metadata"]
    return template.format(namespace=quote(metadata["namespace"], ""), pod=quote(metadata["name"], ""))

"""A pod's templates, rendered all at once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class Templated(Protocol):
    """What the operator and its trigger have in common."""

    pod_name: str
    instead: str
    args: Any  # strings; of the operator, also a callable that makes them
    labels: Mapping[str, str]

    def render_template(self, content: Any, context: Context, jinja_env: jinja2.Environment) -> Any: ...


def render(pod: Templated, context: Context, jinja_env: jinja2.Environment) -> None:
    """Render the templates in place, as one: to compile a template takes a millisecond, however short it is.

    Arguments that a callable makes are taken as they are.
    """
    templates = [pod.pod_name, pod.instead, *pod.labels.values()]
    if callable(pod.args):
        pod.args = list(pod.args(context=context, jinja_env=jinja_env))
    else:
        templates += pod.args
    separator = secrets.token_hex()  # nobody's parameter holds it
    rendered = pod.render_template(separator.join(templates), context, jinja_env).split(separator)
    pod.pod_name, pod.instead, *rendered = rendered
    pod.labels = dict(zip(pod.labels, rendered, strict=False))
    if made := rendered[len(pod.labels) :]:
        pod.args = made

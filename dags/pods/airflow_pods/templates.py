"""Render a pod's templates, and decide who can: the triggerer or only a worker."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from airflow_pods.conf import check_conf
from airflow_pods.errors import PodRefused
from airflow_pods.printable import describe

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


KNOWN_TO_TRIGGERER = {"params", "dag_run", "run_id"}
"""The names that a triggerer knows by itself.

It asks its supervisor for any other. Where that does not understand the question, as with ``ti.xcom_pull``,
the triggerer waits for ever.
"""


def needs_worker(templates: Iterable[str]) -> bool:
    """Return whether only a worker can render the templates, or report what is wrong with them."""
    try:
        names = find_undeclared_variables(SandboxedEnvironment().parse("\n".join(templates)))
    except TemplateError:
        return True
    return not names <= KNOWN_TO_TRIGGERER


class Templated(Protocol):
    """What the operator and its trigger have in common."""

    name: str
    skip_to: str
    arguments: Any  # a list of strings; of the operator, also a callable that returns one
    labels: Mapping[str, str]
    strict_conf: bool

    def render_template(self, content: Any, context: Context, jinja_env: jinja2.Environment) -> Any: ...


def render(pod: Templated, context: Context, jinja_env: jinja2.Environment) -> None:
    """Render the templates in place. Arguments that a callable returns are taken literally.

    All are rendered as one template: compiling takes a millisecond, however short a template is.
    Raises PodRefused if a template is wrong, or the run's conf has unknown keys and ``strict_conf`` is set.
    """
    if pod.strict_conf:
        check_conf(context)
    templates = [pod.name, pod.skip_to, *pod.labels.values()]
    is_callable = callable(pod.arguments)
    if is_callable:
        pod.arguments = list(pod.arguments(context=context, jinja_env=jinja_env))
    else:
        templates += pod.arguments
    separator = secrets.token_hex()  # in no one's parameters
    try:
        rendered = pod.render_template(separator.join(templates), context, jinja_env).split(separator)
    except TemplateError as error:
        raise PodRefused(f"a template of the pod can't be rendered: {describe(error)}") from error
    pod.name, pod.skip_to, *rest = rendered
    pod.labels = dict(zip(pod.labels, rest, strict=False))
    if not is_callable:
        pod.arguments = rest[len(pod.labels) :]

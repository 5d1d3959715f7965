"""A pod's templates, rendered all at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from dags.pods.conf import check_conf
from dags.pods.printable import describe
from dags.pods.status import PodRefused

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


# What a triggerer knows by itself. It asks its supervisor for all else, and where that does not understand
# the question, as with ti.xcom_pull, it waits for the answer for ever.
KNOWN_TO_TRIGGERER = {"params", "dag_run", "run_id"}


def needs_worker(templates: Iterable[str]) -> bool:
    """Whether only a worker can render the templates, or say what is wrong with them."""
    try:
        names = find_undeclared_variables(SandboxedEnvironment().parse("\n".join(templates)))
    except TemplateError:
        return True
    return not names <= KNOWN_TO_TRIGGERER


class Templated(Protocol):
    """What the operator and its trigger have in common."""

    pod_name: str
    instead: str
    args: Any  # strings; of the operator, also a callable that makes them
    labels: Mapping[str, str]
    strict_conf: bool

    def render_template(self, content: Any, context: Context, jinja_env: jinja2.Environment) -> Any: ...


def render(pod: Templated, context: Context, jinja_env: jinja2.Environment) -> None:
    """Render the templates in place, as one: to compile a template takes a millisecond, however short it is.

    Arguments that a callable makes are taken as they are. Raises PodRefused where a template is wrong, or the
    run's conf is not allowed.
    """
    if pod.strict_conf:
        check_conf(context)
    templates = [pod.pod_name, pod.instead, *pod.labels.values()]
    if callable(pod.args):
        pod.args = list(pod.args(context=context, jinja_env=jinja_env))
    else:
        templates += pod.args
    separator = secrets.token_hex()  # nobody's parameter holds it
    try:
        rendered = pod.render_template(separator.join(templates), context, jinja_env).split(separator)
    except TemplateError as error:
        raise PodRefused(f"a template of the pod can't be rendered: {describe(error)}") from error
    pod.pod_name, pod.instead, *rendered = rendered
    pod.labels = dict(zip(pod.labels, rendered, strict=False))
    if made := rendered[len(pod.labels) :]:
        pod.args = made

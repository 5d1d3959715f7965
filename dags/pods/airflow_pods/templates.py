"""A pod as a task's parameters describe it: plain data, whose texts are Jinja templates at first."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b32encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from airflow_pods.conf import check_conf
from airflow_pods.definition import Definition
from airflow_pods.errors import PodRefused
from airflow_pods.manifest import Manifest, manifest_of
from airflow_pods.next_step import function_of
from airflow_pods.pod_set import LONGEST_NAME, IndexedPods
from airflow_pods.printable import describe, quoted
from airflow_pods.result import NEEDED, Result

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

Reduce = Callable[[Any, Result], Any]
"""Returns the new total of the total so far, None at first, and a pod's result."""
TEMPLATED = (
    "name",
    "namespace",
    "image",
    "cmds",
    "arguments",
    "env_vars",
    "labels",
    "annotations",
    "skip_to",
    "count",
    "parallelism",
    "kubernetes_conn_id",
)
"""The template fields of `PodOperator`, which are fields of `PodTemplate` too."""
RENDERED = (*TEMPLATED, "pod")
"""The fields of a `PodTemplate` that are rendered.

``pod`` is no template field, as Airflow would show it: it is nested deeper than Airflow masks secrets.
"""
ONLY_OF_SETS = {"count", "parallelism"}
SUFFIX_CHARACTERS = 8
INDEX_CHARACTERS = 12
"""How many characters of a set's name are left for the index and the attempt of a pod."""
KNOWN_WITHOUT_WORKER = {"params", "dag_run", "run_id", "ti", "task_instance"}
"""The names that `PodExecutor` knows; of the task instance only what `task_context.TemplateTi` has."""


@dataclass(frozen=True)
class PodTemplate:
    """The pod of a task; the fields are those of `PodOperator`. JSON keeps `asdict` of it unchanged."""

    kubernetes_conn_id: str
    name: str
    namespace: str
    image: str
    arguments: Sequence[str]
    labels: Mapping[str, str]
    env_vars: Mapping[str, str]
    secret_env_vars: Mapping[str, Sequence[str]]
    active_deadline_seconds: int | None
    skip_to: str
    strict_conf: bool
    cmds: Sequence[str] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    pod: Definition | None = None
    keep: bool = False
    pod_log_url: str = ""
    count: str | int | None = None
    parallelism: str | int = 1
    retries_per_pod: int = 0
    max_failed: int = 0
    reduce: str = ""
    """The name of the function; see `name_of`."""
    random_name_suffix: bool = False
    """Whether the rendered name gets a suffix."""
    result: str = NEEDED
    """What becomes of what a container leaves: see result.py."""
    do_xcom_push: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this template again."""
        return asdict(self)

    def needs_worker(self) -> bool:
        """Return whether only a worker can render the templates, or report what is wrong with them."""
        try:
            names = find_undeclared_variables(SandboxedEnvironment().parse("\n".join(self._texts())))
        except TemplateError:
            return True
        return not names <= KNOWN_WITHOUT_WORKER

    def rendered(self, context: Context, jinja_env: jinja2.Environment) -> PodTemplate:
        """Return the pod with its texts rendered.

        All are rendered as one template: compiling takes a millisecond, however short a template is.
        Raises PodRefused if a template is wrong, or if ``strict_conf`` is set and the run's conf has unknown
        keys.
        """
        if self.strict_conf:
            check_conf(context)
        separator = secrets.token_hex()  # in no one's parameters
        try:
            text = jinja_env.from_string(separator.join(self._texts())).render(context)
        except TemplateError as error:
            raise PodRefused(f"a template of the pod can't be rendered: {describe(error)}") from error
        texts = iter(str(text).split(separator))
        rendered = replace(self, **{name: _refill(getattr(self, name), texts) for name in RENDERED})
        return replace(rendered, name=rendered.name_in(context), random_name_suffix=False)

    def name_in(self, context: Context) -> str:
        """Return the rendered name, with its suffix if it gets one.

        The suffix is the same in every try of a task, so that the next try finds the pod, and different for
        each task, run and map index.
        """
        if not self.random_name_suffix:
            return self.name
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index  # None in some processes
        identity = "\0".join((ti.dag_id, ti.run_id, ti.task_id, str(map_index)))
        suffix = b32encode(hashlib.sha256(identity.encode()).digest()).decode().lower()[:SUFFIX_CHARACTERS]
        most = LONGEST_NAME - len(suffix) - 1 - (0 if self.count is None else INDEX_CHARACTERS)
        return f"{self.name[:most].strip('-.')}-{suffix}"

    def shown_fields(self) -> tuple[str, ...]:
        """Return the template fields that mean something for this task."""
        return tuple(name for name in TEMPLATED if self.count is not None or name not in ONLY_OF_SETS)

    def title(self) -> str:
        """Return what the task runs, in words."""
        return f"Pod {self.name}" if self.count is None else f"Set {self.name} of {self.count} pods"

    def indexed(self, reduce: Reduce | None = None) -> IndexedPods:
        """Return how the set of pods is run. Raises PodRefused if a number does not render to one.

        ``reduce``: the function itself, where only this process has it.
        """
        count, parallelism = _number("count", self.count), _number("parallelism", self.parallelism)
        if reduce is None and self.reduce:
            reduce = function_of(self.reduce)
        return IndexedPods(
            count, parallelism, self.retries_per_pod, self.max_failed, reduce, result=self.result
        )

    def manifest(self) -> Manifest:
        """Return the pod's manifest; the templates must be rendered."""
        return manifest_of(
            name=self.name,
            namespace=self.namespace,
            image=self.image,
            arguments=self.arguments,
            labels=self.labels,
            env_vars=self.env_vars,
            secret_env_vars=self.secret_env_vars,
            active_deadline_seconds=self.active_deadline_seconds,
            pod=self.pod,
            cmds=self.cmds,
            annotations=self.annotations,
        )

    def _texts(self) -> Iterator[str]:
        for name in RENDERED:
            yield from _texts_in(getattr(self, name))


def name_of_task(task_id: str) -> str:
    """Return a task's id as a DNS label.

    >>> name_of_task("Load.Some_Rows")
    'load-some-rows'
    """
    return re.sub("[^a-z0-9]+", "-", task_id.lower()).strip("-")


def _number(field: str, value: Any) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise PodRefused(f"{field} is {quoted(text)} (it must render to a whole number)")
    return int(text)


def _texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for one in value.values():
                yield from _texts_in(one)
        case Sequence():
            for one in value:
                yield from _texts_in(one)


def _refill(value: Any, texts: Iterator[str]) -> Any:
    """Return the value with its texts replaced, in the order in which `_texts_in` gives them."""
    match value:
        case str():
            return next(texts)
        case Mapping():
            return {key: _refill(one, texts) for key, one in value.items()}
        case Sequence():
            return [_refill(one, texts) for one in value]
    return value

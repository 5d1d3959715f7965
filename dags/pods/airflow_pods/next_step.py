"""What follows a pod's result, as plain data, so that an executor can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_pods.result import Result


@dataclass(frozen=True)
class NextRun:
    """A DAG run to trigger. A run of that id that exists already is a conflict, which a worker resolves."""

    dag_id: str
    run_id: str
    conf: Mapping[str, Any]


@dataclass(frozen=True)
class NextStep:
    """The downstream task to follow, and the DAG run to trigger, if any."""

    task_id: str
    trigger: NextRun | None = None


def name_of(function: Callable[..., Any]) -> str:
    """Return ``module:name``, by which another process can import the function; "" if it cannot.

    A DAG file's own functions cannot: Airflow gives its module a name of its own.
    """
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return ""
    return f"{module}:{name}" if found is function and not module.startswith("unusual_prefix_") else ""


def function_of(name: str) -> Callable[..., Any]:
    """Return the function of that name (see `name_of`)."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def call(name: str, result: Result, params: Mapping[str, Any]) -> NextStep | None:
    """Call the function of that name (see `name_of`) with a pod's result and the run's parameters."""
    step: NextStep | None = function_of(name)(result, params)
    return step

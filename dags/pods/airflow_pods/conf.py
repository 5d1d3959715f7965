"""Refuse a DAG run whose conf has unknown keys: Airflow would accept and ignore them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_pods.errors import PodRefused

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_KEY_LENGTH = 60
"""Characters of a key that the error quotes."""
MAX_KEYS = 5
"""Keys that the error names."""


def check_conf(context: Context) -> None:
    """Raise PodRefused if the run's conf has keys that are not parameters of its DAG."""
    known = list(context["dag"].params)
    unknown = {key: value for key, value in context["params"].items() if key not in known}
    if unknown:
        raise PodRefused(unknown_keys(context["dag"].dag_id, unknown, known))


def unknown_keys(dag_id: str, unknown: Mapping[str, Any], known: Collection[str]) -> str:
    """Return the error message: each unknown key, with the parameter that was probably meant.

    >>> unknown_keys("cpu_start", {"Program": "nop +0"}, ["program", "cycles"])
    "DAG cpu_start has no parameter 'Program' (did you mean 'program'?); its parameters are program, cycles"
    """
    keys = [f"{key[:MAX_KEY_LENGTH]!a}{_suggestion(key, value, known)}" for key, value in unknown.items()]
    named = ", ".join([*keys[:MAX_KEYS], *([f"{len(keys) - MAX_KEYS} more"] if len(keys) > MAX_KEYS else [])])
    return f"DAG {dag_id} has no parameter {named}; its parameters are {', '.join(known)}"


def _suggestion(key: str, value: Any, known: Collection[str]) -> str:
    if isinstance(value, Mapping) and any(inner in known for inner in value):
        return " (give its content directly)"
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(key[:MAX_KEY_LENGTH].lower(), by_lower, n=1)
    return f" (did you mean {by_lower[found[0]]!r}?)" if found else ""

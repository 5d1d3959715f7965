"""What a DAG run was asked for: Airflow takes a key of its conf that is no parameter, and ignores it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dags.pods.status import PodRefused

if TYPE_CHECKING:
    from airflow.sdk import Context

SHOWN = 60  # characters of a key
NAMED = 5  # keys


def check_conf(context: Context) -> None:
    """Raise PodRefused where the run's conf has keys that are no parameters of its DAG."""
    known = list(context["dag"].params)
    unknown = {key: value for key, value in context["params"].items() if key not in known}
    if unknown:
        raise PodRefused(unknown_keys(context["dag"].dag_id, unknown, known))


def unknown_keys(dag_id: str, unknown: Mapping[str, Any], known: Collection[str]) -> str:
    """Return the sentence that names the keys, each with what was probably meant.

    >>> unknown_keys("cpu_start", {"Program": "nop +0"}, ["program", "cycles"])
    "DAG cpu_start has no parameter 'Program' (did you mean 'program'?); its parameters are program, cycles"
    """
    keys = [f"{key[:SHOWN]!a}{_meant(key, value, known)}" for key, value in unknown.items()]
    named = ", ".join([*keys[:NAMED], *([f"{len(keys) - NAMED} more"] if len(keys) > NAMED else [])])
    return f"DAG {dag_id} has no parameter {named}; its parameters are {', '.join(known)}"


def _meant(key: str, value: Any, known: Collection[str]) -> str:
    if isinstance(value, Mapping) and any(inner in known for inner in value):
        return " (give what is in it directly)"
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(key[:SHOWN].lower(), by_lower, n=1)
    return f" (did you mean {by_lower[found[0]]!r}?)" if found else ""

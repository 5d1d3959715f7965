"""Parse a pod's result: a JSON object that all of Airflow keeps unchanged.

A result is packed as msgpack between a task and its supervisor, serialised as an XCom, stored as ``jsonb`` by
PostgreSQL, and read back by each of these. Each refuses or changes something that JSON allows.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from airflow_pods.printable import one_line, quoted

Result = dict[str, Any]

NEEDED, OPTIONAL, IGNORED = "needed", "optional", "ignored"
"""What becomes of what a container leaves: without it the task fails; it is taken if there is one; or it is
ignored, and exit code 0 is enough."""

MAX_LEVELS = 32
SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The integers that msgpack can hold."""
LARGEST_FLOAT = 1e16
"""From here on, PostgreSQL returns a float as an integer, and not always the same one."""


class BadResult(ValueError):
    """A pod left no result that Airflow can keep; the message quotes what is wrong, with the remedy."""


def parse_result(text: str) -> Result:
    """Return the JSON object that a pod left.

    Raises BadResult if it is not a JSON object, or if Airflow could not keep it unchanged.
    """
    try:
        result = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except BadResult:
        raise
    except RecursionError:
        _refuse_depth(text)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise BadResult(f"no JSON object as its result: {quoted(text, 200)} (is the image the right one?)")
    _check(result, text, MAX_LEVELS)
    return result


def log_lines(result: Result | None) -> list[str]:
    """Return what the task's log shows: the field ``sentence``, if there is one, and all of it as JSON."""
    if result is None:
        return []
    sentence = result.get("sentence")
    first = [one_line(sentence)] if isinstance(sentence, str) and sentence else []
    return [*first, one_line(json.dumps(result, ensure_ascii=False), 5000)]


def _object(pairs: list[tuple[str, Any]]) -> Result:
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise BadResult(f"a result with the key {quoted(repeated)} twice (give each key once)")
    return parsed


def _integer(digits: str) -> int:
    # More than 20 characters are out of bounds, and slow to convert.
    if len(digits) > 20 or not SMALLEST <= int(digits) <= LARGEST:
        _refuse_number(digits)
    return int(digits)


def _float(digits: str) -> float:
    if abs(float(digits)) >= LARGEST_FLOAT:
        _refuse_number(digits)
    return float(digits)


def _refuse_number(digits: str) -> NoReturn:
    raise BadResult(f"a result with the number {quoted(digits)[1:-1]}, which is too large (write it as text)")


def _constant(name: str) -> NoReturn:
    raise BadResult(f"a result with {name}, which is not JSON (write null, or text)")


def _check(value: Any, text: str, levels: int) -> None:
    """Raise BadResult if Airflow could not keep a text, a key or the depth of the value."""
    match value:
        case str():
            if re.search("[\0\ud800-\udfff]", value):
                fault = "a NUL" if "\0" in value else "half a surrogate pair"
                raise BadResult(
                    f"a result with {fault} in {quoted(value)} (encode it, as base64 for example)"
                )
        case dict() | list() if levels == 0:
            _refuse_depth(text)
        case dict():
            for key, item in value.items():
                if key.startswith("__"):
                    raise BadResult(
                        f"a result with the key {quoted(key)}: Airflow reserves keys that begin with __ "
                        "(rename it)"
                    )
                _check(key, text, levels)
                _check(item, text, levels - 1)
        case list():
            for item in value:
                _check(item, text, levels - 1)


def _refuse_depth(text: str) -> NoReturn:
    raise BadResult(f"a result of more than {MAX_LEVELS} levels: {quoted(text)} (flatten it)")

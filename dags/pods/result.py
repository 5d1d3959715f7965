"""A pod's result: a JSON object that everything in Airflow keeps as it is.

A result is packed as msgpack between a task and its supervisor, serialised as an XCom, kept as ``jsonb`` by
PostgreSQL, and read back by all of them. Each refuses or changes something that JSON allows.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from dags.pods.printable import quoted

Result = dict[str, Any]

MAX_LEVELS = 32
# What msgpack holds.
SMALLEST, LARGEST = -(2**63), 2**64 - 1
# From here on PostgreSQL gives a float back as a whole number, and not as the same one.
LARGEST_FLOAT = 1e16


class BadResult(ValueError):
    """What a pod left is no result that Airflow can keep: quotes what is wrong, and says what helps."""


def parse_result(text: str) -> Result:
    """Return the JSON object that a pod left.

    Raises BadResult when it is none, or when Airflow could not keep it unchanged.
    """
    try:
        result = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole_number,
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


def _object(pairs: list[tuple[str, Any]]) -> Result:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadResult(f"a result with the key {quoted(twice)} twice (give each key once)")
    return found


def _whole_number(digits: str) -> int:
    # More than 20 characters are beyond the bounds, and slow to read.
    if len(digits) > 20 or not SMALLEST <= int(digits) <= LARGEST:
        _refuse_number(digits)
    return int(digits)


def _float(digits: str) -> float:
    if abs(float(digits)) >= LARGEST_FLOAT:
        _refuse_number(digits)
    return float(digits)


def _refuse_number(digits: str) -> NoReturn:
    raise BadResult(f"a result with the number {quoted(digits)[1:-1]}, which is too large (leave it as text)")


def _constant(name: str) -> NoReturn:
    raise BadResult(f"a result with {name}, which is no JSON (leave null, or text)")


def _check(value: Any, text: str, levels: int) -> None:
    """Raise BadResult for a text, a key or a depth that Airflow could not keep."""
    match value:
        case str():
            if re.search("[\0\ud800-\udfff]", value):
                what = "a NUL" if "\0" in value else "half a surrogate pair"
                raise BadResult(f"a result with {what} in {quoted(value)} (encode it, as base64 for example)")
        case dict() | list() if levels == 0:
            _refuse_depth(text)
        case dict():
            for key, one in value.items():
                if key.startswith("__"):
                    raise BadResult(
                        f"a result with the key {quoted(key)}: Airflow keeps those that begin with __ to "
                        "itself (rename it)"
                    )
                _check(key, text, levels)
                _check(one, text, levels - 1)
        case list():
            for one in value:
                _check(one, text, levels - 1)


def _refuse_depth(text: str) -> NoReturn:
    raise BadResult(f"a result of more than {MAX_LEVELS} levels: {quoted(text)} (flatten it)")

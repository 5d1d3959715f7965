"""Plain JSON objects, as clients send and receive them: their keys, times and encoding."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace, "" for objects without one, and name."""


def key_of(thing: Json) -> Key:
    """Return the key that the object is stored under."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; raise ValueError for NaN and for half a surrogate pair."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def now() -> str:
    """Return the current second, as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dig(thing: Any, path: str) -> Any:
    """Return the value at a dotted path, or None where the path leads nowhere."""
    for part in path.split("."):
        if not isinstance(thing, dict):
            return None
        thing = thing.get(part)
    return thing

"""Plain JSON objects, as they travel: how they are named, stamped and encoded."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace ("" for what has none) and name."""

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: Kubernetes wants no words in generated names


def key_of(thing: Json) -> Key:
    """Where the object is kept."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; raise ValueError for what neither has: NaN, half a surrogate pair."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def now() -> str:
    """This second, as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro() -> str:
    """This microsecond, as Kubernetes writes event times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The moment a `now()` text names."""
    return datetime.fromisoformat(text)


def new_uid() -> str:
    """A fresh identity for an object."""
    return str(uuid.uuid4())


def random_suffix() -> str:
    """Five characters, as `generateName` appends them."""
    return "".join(random.choices(_SUFFIX, k=5))  # noqa: S311 - a name, not a secret


def dig(thing: Any, path: str) -> Any:
    """The value at a dotted path, or None where there is none."""
    for part in path.split("."):
        if not isinstance(thing, dict):
            return None
        thing = thing.get(part)
    return thing

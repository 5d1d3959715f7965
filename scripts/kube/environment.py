"""A container's environment, arguments and paths, from its spec.

No container has a root filesystem of its own here. Each volume is a folder under the endpoint's state,
and wherever a mount path (or the termination message path) occurs in a command, an argument, a variable's
value or an exec'd command, that folder's real path is written in its place: as text, longest mount first,
only where the path starts and ends as a path does. A path that a program makes up by itself is not seen.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from scripts.kube.kinds import SECRETS
from scripts.kube.objects import Json, dig
from scripts.kube.store import Store

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """A container that cannot be configured yet, for want of a secret, say."""


class Mounts:
    """Rewrites mount paths to the folders that stand for them."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {mount.rstrip("/"): str(folder) for mount, folder in folders.items()}
        longest_first = sorted(filter(None, self._folders), key=len, reverse=True)
        paths = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(rf"(?<![\w.)}}~*/-])(?:{paths})(?![\w.-])") if paths else None

    def rewrite(self, text: str) -> str:
        """The text with every mount path replaced."""
        if self._pattern is None or "/" not in text:
            return text
        return self._pattern.sub(lambda match: self._folders[match[0]], text)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' own expansion: `$(NAME)`, left alone when NAME is unknown, and `$$` for a dollar."""
    if "$" not in text:
        return text
    return _REFERENCE.sub(lambda match: variables.get(match[1], match[0]) if match[1] else "$", text)


def variables(pod: Json, container: Json, store: Store) -> dict[str, str]:
    """The variables the spec names, with references resolved; raises ConfigError."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        if "secretRef" not in source:
            raise ConfigError(f"envFrom {sorted(source)} is not supported by this endpoint: use secretRef")
        for name, value in _secret(pod, source["secretRef"], store).items():
            found[prefix + name] = value
    for entry in container.get("env") or []:
        value_ = _value(pod, entry, found, store)
        if value_ is not None:
            found[entry["name"]] = value_
    return found


def secret_data(secret: Json) -> dict[str, bytes]:
    """A secret's values, decoded."""
    return {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}


def _value(pod: Json, entry: Json, known: Mapping[str, str], store: Store) -> str | None:
    match entry.get("valueFrom"):
        case None:
            return expand(entry.get("value") or "", known)
        case {"secretKeyRef": reference}:
            return _secret_value(pod, reference, store)
        case {"fieldRef": reference}:
            return _field(pod, reference["fieldPath"])
        case other:
            raise ConfigError(f"valueFrom {sorted(other)} is not supported by this endpoint")


def _secret_value(pod: Json, reference: Json, store: Store) -> str | None:
    values = _secret(pod, reference, store)
    if reference["key"] in values:
        return values[reference["key"]]
    if reference.get("optional"):
        return None
    namespace = pod["metadata"]["namespace"]
    raise ConfigError(f"couldn't find key {reference['key']} in Secret {namespace}/{reference['name']}")


def _secret(pod: Json, reference: Json, store: Store) -> dict[str, str]:
    secret = store.get(SECRETS, (pod["metadata"]["namespace"], reference["name"]))
    if secret is not None:
        # Values need not be UTF-8: `surrogateescape` carries other bytes to the process as they are.
        return {name: value.decode(errors="surrogateescape") for name, value in secret_data(secret).items()}
    if reference.get("optional"):
        return {}
    raise ConfigError(f'secret "{reference["name"]}" not found')


def _field(pod: Json, path: str) -> str:
    if match := _SUBSCRIPT.fullmatch(path):
        values = pod["metadata"].get(match[1]) or {}
        return str(values.get(match[2], ""))
    return str(dig(pod, path) or "")

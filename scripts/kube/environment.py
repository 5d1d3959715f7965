"""What a container gets from its pod's spec: volumes, environment, arguments and working directory.

No container has a root filesystem of its own. Each volume is a folder under the pod's folder, and
wherever a mount path (or the termination message path) occurs in a command, an argument, a variable's value
or an exec'd command, it is replaced with the real path of that folder: as text, longest mount first,
only where the path starts and ends as a path does. A path that a program makes up by itself is not replaced.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from posixpath import normpath

from scripts.kube.images import Image
from scripts.kube.kinds import SECRETS
from scripts.kube.objects import Json, dig
from scripts.kube.processes import Command
from scripts.kube.store import Store

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """A container that cannot be configured yet: a Secret is missing, for example."""


class Mounts:
    """Replaces mount paths with the paths of the folders and files that stand for them."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = {mount.rstrip("/"): str(path) for mount, path in paths.items()}
        longest_first = sorted(filter(None, self._paths), key=len, reverse=True)
        choices = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(rf"(?<![\w.)}}~*/-])(?:{choices})(?![\w.-])") if choices else None

    def rewrite(self, text: str) -> str:
        """Return the text with every mount path replaced."""
        if self._pattern is None or "/" not in text:
            return text
        return self._pattern.sub(lambda match: self._paths[match[0]], text)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand `$(NAME)` as Kubernetes does: unchanged where NAME is unknown; `$$` is a dollar."""
    if "$" not in text:
        return text
    return _REFERENCE.sub(lambda match: variables.get(match[1], match[0]) if match[1] else "$", text)


def command_of(pod: Json, spec: Json, image: Image, folder: Path, mounts: Mounts, store: Store) -> Command:
    """Return the command of one container of a pod whose folder is `folder`; raise ConfigError.

    The environment holds the variables of the spec and the image, PATH, HOME and HOSTNAME, and nothing of
    this machine's.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    given = _variables(pod, spec, store)
    defaults = {
        **image.environment,
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(home),
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
    }
    command, arguments = spec.get("command") or [], spec.get("args") or []
    words = [*command, *arguments] if command else [*image.entrypoint, *(arguments or image.arguments)]
    # The image's own start can be a fork, unless a variable changes how Python starts.
    is_own_start = not command and not any(name.startswith("PYTHON") for name in given)
    return Command(
        [mounts.rewrite(expand(word, given)) for word in words],
        {**defaults, **{name: mounts.rewrite(value) for name, value in given.items()}},
        _working_folder(spec, mounts, folder) or (image.folder if image.package else home),
        image if is_own_start else None,
    )


def prepare_volumes(pod: Json, folder: Path, store: Store) -> None:
    """Create the pod's volumes in `folder`; raise ConfigError."""
    for volume in pod["spec"].get("volumes") or []:
        place = folder / volume["name"]
        match volume:
            case {"emptyDir": _}:
                place.mkdir(parents=True, exist_ok=True)
            case {"secret": source}:
                place.mkdir(parents=True, exist_ok=True)
                _write_secret(place, source, pod, store)
            case _:
                kind = next((name for name in volume if name != "name"), "nothing")
                name = volume["name"]
                raise ConfigError(f'volume "{name}" is of {kind}: this endpoint has emptyDir and secret only')


def mounted_volumes(container: Json, folder: Path) -> dict[str, Path]:
    """Return the real path of each of a container's mount paths; the pod's volumes are in `folder`."""
    return {
        mount["mountPath"]: folder / mount["name"] / mount.get("subPath", "")
        for mount in container.get("volumeMounts") or []
    }


def _working_folder(spec: Json, mounts: Mounts, folder: Path) -> Path | None:
    """Return the spec's working directory; if this machine has none, create it in the pod's folder."""
    path = spec.get("workingDir")
    if not path:
        return None
    place = Path(mounts.rewrite(path))
    if not place.is_dir():
        place = folder / "root" / normpath(f"/{path}").lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
    return place


def _variables(pod: Json, container: Json, store: Store) -> dict[str, str]:
    """Return the variables that the spec names, with references resolved; raise ConfigError."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        if "secretRef" not in source:
            raise ConfigError(f"envFrom {sorted(source)} is not supported by this endpoint: use secretRef")
        values = _secret_values(pod, source["secretRef"], source["secretRef"]["name"], store)
        found |= {source.get("prefix", "") + name: _text(value) for name, value in values.items()}
    for entry in container.get("env") or []:
        match entry.get("valueFrom"):
            case None:
                found[entry["name"]] = expand(entry.get("value") or "", found)
            case {"secretKeyRef": reference}:
                name, key = reference["name"], reference["key"]
                values = _secret_values(pod, reference, name, store)
                if key in values:
                    found[entry["name"]] = _text(values[key])
                elif not reference.get("optional"):
                    namespace = pod["metadata"]["namespace"]
                    raise ConfigError(f"couldn't find key {key} in Secret {namespace}/{name}")
            case {"fieldRef": reference}:
                found[entry["name"]] = _field(pod, reference["fieldPath"])
            case other:
                raise ConfigError(f"valueFrom {sorted(other)} is not supported by this endpoint")
    return found


def _field(pod: Json, path: str) -> str:
    if match := _SUBSCRIPT.fullmatch(path):
        values = pod["metadata"].get(match[1]) or {}
        return str(values.get(match[2], ""))
    return str(dig(pod, path) or "")


def _secret_values(pod: Json, reference: Json, name: str, store: Store) -> dict[str, bytes]:
    """Return a Secret's values, decoded; none if it is missing and `reference` calls it optional."""
    secret = store.get(SECRETS, (pod["metadata"]["namespace"], name))
    if secret is None and not reference.get("optional"):
        raise ConfigError(f'secret "{name}" not found')
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value) for key, value in data.items()}


def _text(value: bytes) -> str:
    # A value need not be UTF-8: `surrogateescape` passes other bytes to the process unchanged.
    return value.decode(errors="surrogateescape")


def _write_secret(place: Path, source: Json, pod: Json, store: Store) -> None:
    values = _secret_values(pod, source, source["secretName"], store)
    for item in source.get("items") or [{"key": key, "path": key} for key in values]:
        if item["key"] in values:
            file = place / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(values[item["key"]])
            file.chmod(item.get("mode", source.get("defaultMode", 0o644)))
        elif not source.get("optional"):
            raise ConfigError(f"references non-existent secret key: {item['key']}")

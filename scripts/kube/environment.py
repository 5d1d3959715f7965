"""What a container gets from its image and its pod's spec: command, environment, folder and volumes.

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
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath

from scripts.kube.objects import SECRETS, Json, dig
from scripts.kube.store import Store

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGE_REFERENCE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """A container that cannot be configured yet; `reason` is why it waits."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Image:
    """The code that an image's name stands for, and what it adds to the environment.

    An image without code of its own runs this machine's programs. With `preloads`, its containers are forked
    from a process that has imported the package's module `preload`.
    """

    python: list[str] = field(default_factory=list)
    package: str = ""
    folder: Path = Path()
    environment: Mapping[str, str] = field(default_factory=dict)
    preloads: bool = False

    @property
    def entrypoint(self) -> list[str]:
        """The words that start the image's package, none without one."""
        return [*self.python, "-m", self.package] if self.package else []

    @classmethod
    def of_folder(cls, folder: Path, libraries: Path | None) -> Image:
        """Return the image of the one package in `folder` that `python -m` can run; raise ValueError.

        `libraries` holds the package's dependencies; without it, it sees the packages of this process.
        """
        packages = [file.parent.name for file in folder.glob("*/__main__.py")]
        if len(packages) != 1:
            raise ValueError(f"{folder} must hold one package with a __main__.py, found {packages or 'none'}")
        if libraries and not libraries.is_dir():
            raise ValueError(f"{libraries} is not a folder: install the image's packages there")
        # macOS: a process that has used system frameworks cannot safely be forked.
        preloads = sys.platform != "darwin" and (folder / packages[0] / "preload.py").exists()
        # -S: without the packages that are installed for this process.
        python = [sys.executable, "-S"] if libraries else [sys.executable]
        environment = {"PYTHONPATH": str(libraries)} if libraries else {}
        return cls(python, packages[0], folder, environment, preloads)


BARE_IMAGES = {name: Image() for name in ("alpine", "busybox", "debian", "python", "ubuntu")}
"""Images without code of their own."""


def find_image(images: Mapping[str, Image], reference: str, policy: str) -> Image:
    """Return the image of that reference by the last part of its repository's name; raise ConfigError."""
    if _IMAGE_REFERENCE.fullmatch(reference) is None:
        message = f'Failed to apply default image tag "{reference}": couldn\'t parse image reference'
        raise ConfigError(message, "InvalidImageName")
    name = reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
    if name in images:
        return images[name]
    if policy == "Never":
        message = f'Container image "{reference}" is not present with pull policy of Never'
        raise ConfigError(message, "ErrImageNeverPull")
    known = ", ".join(sorted(images))
    message = f'"{reference}": not found: this endpoint runs local processes and knows only: {known}'
    raise ConfigError(message, "ErrImagePull")


class Mounts:
    """Replaces mount paths with the paths of the folders and files that stand for them."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = {mount.rstrip("/"): str(path) for mount, path in paths.items()}
        longest_first = sorted(filter(None, self._paths), key=len, reverse=True)
        choices = "|".join(map(re.escape, longest_first)) or "(?!)"  # which matches nothing
        self._pattern = re.compile(rf"(?<![\w.)}}~*/-])(?:{choices})(?![\w.-])")

    def rewrite(self, text: str) -> str:
        """Return the text with every mount path replaced."""
        return self._pattern.sub(lambda match: self._paths[match[0]], text)


@dataclass(frozen=True)
class Command:
    """What to run: the arguments, the whole environment, the working directory.

    `image` is set where the image's own entrypoint is run, which can be a fork.
    """

    arguments: list[str]
    environment: Mapping[str, str]
    folder: Path
    image: Image | None = None


def command_of(pod: Json, spec: Json, image: Image, folder: Path, mounts: Mounts, store: Store) -> Command:
    """Return the command of one container of a pod whose folder is `folder`; raise ConfigError.

    The environment holds the variables of the spec and the image, PATH, HOME and HOSTNAME, and nothing of
    this machine's.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    given = _variables(pod, spec, store)
    environment = {
        **image.environment,
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(home),
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        **{name: mounts.rewrite(value) for name, value in given.items()},
    }
    words = [*(spec.get("command") or image.entrypoint), *(spec.get("args") or [])] or ["/bin/sh"]
    place = image.folder if image.package else home
    if path := spec.get("workingDir"):
        place = Path(mounts.rewrite(path))
        if not place.is_dir():
            place = folder / "root" / normpath(f"/{path}").lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
    # The image's own start can be a fork, unless a variable changes how Python starts.
    is_own_start = not spec.get("command") and not any(name.startswith("PYTHON") for name in given)
    arguments = [mounts.rewrite(expand(word, given)) for word in words]
    return Command(arguments, environment, place, image if is_own_start else None)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand `$(NAME)` as Kubernetes does: unchanged where NAME is unknown; `$$` is a dollar."""
    return _VARIABLE.sub(lambda match: variables.get(match[1], match[0]) if match[1] else "$", text)


def _variables(pod: Json, container: Json, store: Store) -> dict[str, str]:
    """Return the variables that the spec names, with references resolved; raise ConfigError."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        if "secretRef" not in source:
            raise ConfigError(f"envFrom {sorted(source)} is not supported by this endpoint: use secretRef")
        values = _secret_values(pod, source["secretRef"], source["secretRef"]["name"], store)
        found |= {source.get("prefix", "") + key: value for key, value in values.items()}
    for entry in container.get("env") or []:
        match entry.get("valueFrom"):
            case None:
                found[entry["name"]] = expand(entry.get("value") or "", found)
            case {"secretKeyRef": reference}:
                name, key = reference["name"], reference["key"]
                values = _secret_values(pod, reference, name, store)
                if key in values:
                    found[entry["name"]] = values[key]
                elif not reference.get("optional"):
                    namespace = pod["metadata"]["namespace"]
                    raise ConfigError(f"couldn't find key {key} in Secret {namespace}/{name}")
            case {"fieldRef": {"fieldPath": path}}:
                found[entry["name"]] = _field(pod, path)
            case other:
                raise ConfigError(f"valueFrom {sorted(other)} is not supported by this endpoint")
    return found


def _field(pod: Json, path: str) -> str:
    if match := _SUBSCRIPT.fullmatch(path):
        values = pod["metadata"].get(match[1]) or {}
        return str(values.get(match[2], ""))
    return str(dig(pod, path) or "")


def _secret_values(pod: Json, reference: Json, name: str, store: Store) -> dict[str, str]:
    """Return a Secret's values; none if it is missing and `reference` calls it optional.

    A value need not be UTF-8: `surrogateescape` keeps all other bytes.
    """
    secret = store.get(SECRETS, (pod["metadata"]["namespace"], name))
    if secret is None and not reference.get("optional"):
        raise ConfigError(f'secret "{name}" not found')
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in data.items()}


def prepare_volumes(pod: Json, folder: Path, store: Store) -> None:
    """Create the pod's volumes in `folder`; raise ConfigError."""
    for volume in pod["spec"].get("volumes") or []:
        place = folder / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        match volume:
            case {"emptyDir": _}:
                pass
            case {"secret": source}:
                _write_secret(place, source, pod, store)
            case _:
                kind = next((name for name in volume if name != "name"), "nothing")
                name = volume["name"]
                raise ConfigError(f'volume "{name}" is of {kind}: this endpoint has emptyDir and secret only')


def _write_secret(place: Path, source: Json, pod: Json, store: Store) -> None:
    values = _secret_values(pod, source, source["secretName"], store)
    for item in source.get("items") or [{"key": key, "path": key} for key in values]:
        if item["key"] in values:
            file = place / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(values[item["key"]].encode(errors="surrogateescape"))
            file.chmod(item.get("mode", source.get("defaultMode", 0o644)))
        elif not source.get("optional"):
            raise ConfigError(f"references non-existent secret key: {item['key']}")

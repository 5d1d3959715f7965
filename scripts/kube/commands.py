"""What a container runs: its words, its environment and its folder, from its spec and its image."""

from __future__ import annotations

import sys
from pathlib import Path
from posixpath import normpath

from scripts.kube import environment
from scripts.kube.environment import Mounts
from scripts.kube.images import Image
from scripts.kube.objects import Json
from scripts.kube.processes import Command
from scripts.kube.store import Store

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command_of(pod: Json, spec: Json, image: Image, folder: Path, mounts: Mounts, store: Store) -> Command:
    """The command of one container of a pod whose folder is `folder`; raises ConfigError.

    The environment is what the spec and the image name, PATH, HOME and HOSTNAME; nothing of this machine's.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    named = environment.variables(pod, spec, store)
    defaults = {
        **image.environment,
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(home),
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
    }
    return Command(
        [mounts.rewrite(environment.expand(word, named)) for word in _words(spec, image)],
        {**defaults, **{name: mounts.rewrite(value) for name, value in named.items()}},
        _working_folder(spec, mounts, folder) or image.folder or home,
        None if spec.get("command") or any(name.startswith("PYTHON") for name in named) else image,
    )


def _words(spec: Json, image: Image) -> list[str]:
    arguments = spec.get("args") or []
    if command := spec.get("command"):
        return [*command, *arguments]
    return [*image.entrypoint, *(arguments or image.arguments)]


def _working_folder(spec: Json, mounts: Mounts, folder: Path) -> Path | None:
    """The folder the spec asks for, made under the pod's own where this machine has none of that name."""
    asked = spec.get("workingDir")
    if not asked:
        return None
    place = Path(mounts.rewrite(asked))
    if not place.is_dir():
        place = folder / "root" / normpath(f"/{asked}").lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
    return place

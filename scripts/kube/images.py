"""Images: the code that an image's name stands for."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_REFERENCE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")


class ImageError(Exception):
    """An image that cannot be pulled; `reason` is the waiting container's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Image:
    """What a container of an image runs, and what the image adds to its environment.

    An image without code of its own has neither `folder` nor `package`. With `preloads`, its containers are
    forked from a process that has imported the package's module `preload`.
    """

    entrypoint: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    folder: Path = Path()
    package: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    preloads: bool = False

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
        return cls([*python, "-m", packages[0]], [], folder, packages[0], environment, preloads)


def find_image(images: Mapping[str, Image], reference: str, policy: str) -> Image:
    """Return the image of that reference; raise ImageError.

    Images are found by the last part of their repository's name; registry and tag are ignored.
    """
    if _REFERENCE.fullmatch(reference) is None:
        message = f'Failed to apply default image tag "{reference}": couldn\'t parse image reference'
        raise ImageError("InvalidImageName", message)
    name = reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
    if name in images:
        return images[name]
    if policy == "Never":
        message = f'Container image "{reference}" is not present with pull policy of Never'
        raise ImageError("ErrImageNeverPull", message)
    known = ", ".join(sorted(images))
    message = f'"{reference}": not found: this endpoint runs local processes and knows only: {known}'
    raise ImageError("ErrImagePull", message)


BARE_IMAGES = {
    name: Image(arguments=["/bin/sh"]) for name in ("alpine", "busybox", "debian", "python", "ubuntu")
}
"""Images without code of their own: their containers run this machine's programs."""

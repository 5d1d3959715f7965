"""Which code an image's name stands for."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_REFERENCE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_BARE = ("alpine", "busybox", "debian", "python", "ubuntu")


class ImageError(Exception):
    """An image that cannot be had: `reason` as a waiting container shows it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Image:
    """What a container of this image runs: its entrypoint, its default arguments, and where."""

    entrypoint: list[str]
    arguments: list[str]
    folder: Path | None


class Images:
    """The images of this endpoint, by the last part of their repository's name; tags do not matter.

    `alpine`, `busybox`, `debian`, `python` and `ubuntu` have no code of their own: their containers run
    this machine's own programs.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._images = {name: Image([], ["/bin/sh"], None) for name in _BARE}
        for name, folder in folders.items():
            entrypoint = [sys.executable, "-m", _package(folder)]
            self._images[name] = Image(entrypoint, [], folder)

    def find(self, reference: str, policy: str) -> Image:
        """The image of that reference; raises ImageError."""
        if _REFERENCE.fullmatch(reference) is None:
            message = f'Failed to apply default image tag "{reference}": couldn\'t parse image reference'
            raise ImageError("InvalidImageName", message)
        name = reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
        if name in self._images:
            return self._images[name]
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", message)
        known = ", ".join(sorted(self._images))
        message = f'"{reference}": not found: this endpoint runs local processes and knows only: {known}'
        raise ImageError("ErrImagePull", message)


def _package(folder: Path) -> str:
    """The one package in a folder that `python -m` can run; raises ValueError where that is not clear."""
    packages = sorted(file.parent.name for file in folder.glob("*/__main__.py"))
    if len(packages) != 1:
        raise ValueError(
            f"{folder} must hold exactly one package with a __main__.py, found {packages or 'none'}"
        )
    return packages[0]

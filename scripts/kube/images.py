"""Which code an image's name stands for."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_REFERENCE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_BARE = ("alpine", "busybox", "debian", "python", "ubuntu")


class ImageError(Exception):
    """An image that cannot be had: `reason` as a waiting container shows it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Source:
    """What stands for an image: a folder with one package that `python -m` can run, and the folder its
    dependencies are installed in; without that, it sees what this process sees.
    """

    folder: Path
    libraries: Path | None = None


@dataclass(frozen=True)
class Image:
    """What a container of this image runs: its entrypoint, its default arguments, where, and what its
    environment holds beside what every container's does; and the package that it can be forked with, if any.
    """

    entrypoint: list[str]
    arguments: list[str]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    warm: str = ""


class Images:
    """The images of this endpoint, by the last part of their repository's name; tags do not matter.

    `alpine`, `busybox`, `debian`, `python` and `ubuntu` have no code of their own: their containers run
    this machine's own programs.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._images = {name: Image([], ["/bin/sh"]) for name in _BARE}
        for name, source in sources.items():
            self._images[name] = _image(source)

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


def _image(source: Source) -> Image:
    package = _package(source.folder)
    run = ["-m", package]
    # Not on macOS, which does not tell of a child's end without reaping it.
    can_fork = hasattr(os, "waitid") and (source.folder / package / "preload.py").exists()
    warm = package if can_fork else ""
    if source.libraries is None:
        return Image([sys.executable, *run], [], source.folder, warm=warm)
    # -S: nothing of the packages this very process is installed with.
    environment = {"PYTHONPATH": str(source.libraries)}
    return Image([sys.executable, "-S", *run], [], source.folder, environment, warm)


def _package(folder: Path) -> str:
    """The one package in a folder that `python -m` can run; raises ValueError where that is not clear."""
    packages = sorted(file.parent.name for file in folder.glob("*/__main__.py"))
    if len(packages) != 1:
        raise ValueError(
            f"{folder} must hold exactly one package with a __main__.py, found {packages or 'none'}"
        )
    return packages[0]

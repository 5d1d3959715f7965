"""A short name in ``/tmp`` for a state folder whose path is too long for unix sockets.

Every user can write to ``/tmp``. So the name is a link in a folder that only its owner can open, and that
folder is checked each time before it is used.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from scripts.local.errors import StackError

TEMPORARY = Path("/tmp")  # noqa: S108
"""Not tempfile.gettempdir(), which may differ the next time, and is long on macOS."""


def alias_of(state: Path) -> Path:
    """Return the short name of a state folder, even if it has not been created yet.

    Raises StackError if the folder that holds the names belongs to another user or is open to others.
    """
    folder = TEMPORARY / f"cluster-cpu-{os.geteuid()}"
    with suppress(FileNotFoundError):
        _check_private(folder)
    return folder / hashlib.sha256(str(state).encode()).hexdigest()[:12]


def make_alias(state: Path) -> None:
    """Create the short name of a state folder; raise StackError if something else has that name."""
    alias = alias_of(state)
    with suppress(FileExistsError):
        alias.parent.mkdir(mode=0o700)
    _check_private(alias.parent)
    with suppress(FileExistsError):
        alias.symlink_to(state)
    if not alias.is_symlink() or alias.readlink() != state:
        raise StackError(f"{alias} does not lead to {state}: remove it, or choose a shorter --state")


def remove_alias(state: Path) -> None:
    """Remove the short name of a state folder, and the folder of names once it is empty."""
    alias = alias_of(state)
    if alias.is_symlink():
        alias.unlink()
    with suppress(OSError):
        alias.parent.rmdir()


def _check_private(folder: Path) -> None:
    """Raise StackError unless this is a real folder of the current user that nobody else may open.

    Raises FileNotFoundError if it does not exist.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        fault = "is not a folder"
    elif found.st_uid != os.geteuid():
        fault = f"belongs to the user with id {found.st_uid}"
    elif found.st_mode & 0o077:
        fault = f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o}, not 0700)"
    else:
        return
    raise StackError(
        f"{folder}, which holds the sockets of a stack with a long path, {fault}: "
        "remove it, or choose a shorter --state"
    )

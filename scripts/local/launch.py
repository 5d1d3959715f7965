"""Become a component or a one-shot: ``python -m scripts.local.launch STATE NAME``.

supervisord runs this program for each component, so that its configuration holds no secret, environment or
quoting. The program looks the component up in the stack's description, takes on its environment, folder and
user, and replaces itself by it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import sys
from pathlib import Path

from scripts.local.errors import StackError
from scripts.local.processes import end_leftovers, record_group
from scripts.local.services.component import environment
from scripts.local.settings import load
from scripts.local.stack import Stack

# From linux/prctl.h, linux/securebits.h and linux/capability.h.
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
"""Without it access(2), by which PostgreSQL finds itself, ignores the capability."""
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1


def main(state: Path, name: str) -> None:
    """Replace this process by the named component of the stack in the state folder."""
    settings = load(state)
    if settings is None:
        raise SystemExit(f"there is no stack in {state}")
    component = Stack.describe(settings).component(name)
    variables = environment(component, settings)
    os.umask(0o077)
    if component.signal_whole_group:
        end_leftovers(settings, name)
    record_group(settings, name)
    os.chdir(component.folder)
    if component.user:
        socket = [Path(component.address)] if component.address else []
        _become_user(component.user, reaching=[Path(component.command[0]), component.folder, *socket])
    os.execve(component.command[0], list(component.command), variables)  # noqa: S606


def _become_user(user: str, reaching: list[Path]) -> None:
    """Change from root to a plain user for good, who can still reach the given paths.

    A checkout in root's home is closed to all other users. Rather than open root's folders to everybody, the
    user keeps the one capability that passes closed folders.
    """
    entry = pwd.getpwnam(user)
    closed = any(not _is_open(folder) for path in reaching for folder in path.parents)
    libc = ctypes.CDLL(None, use_errno=True) if closed else None
    if libc:
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if libc:
        bit = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        # Effective, permitted, inheritable: capabilities 0 to 31, then 32 to 63.
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        if libc.capset(header, data) or libc.prctl(
            PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0
        ):
            raise StackError(
                f"the user {user!r}, who runs PostgreSQL, can't reach {reaching[0]}: "
                f"move the checkout to a folder that is open to all users, or run the stack as a plain user"
            )


def _is_open(folder: Path) -> bool:
    """Return whether every user may pass through the folder."""
    return bool(folder.stat().st_mode & stat.S_IXOTH)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

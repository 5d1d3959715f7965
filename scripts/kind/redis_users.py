"""The users of the CPUs' Redis, as Redis reads them from a file."""

from __future__ import annotations

from scripts.local.settings import REPOSITORY

USERS = REPOSITORY / "scripts/cluster/redis-users.acl"


def acl_file(*, cpu: str, wall: str) -> str:
    """Return the content of an aclfile with these passwords; Redis takes no comments in there."""
    lines = [line for line in USERS.read_text().splitlines() if line.startswith("user ")]
    text = "\n".join([*lines, ""])
    return text.replace(">CPU_PASSWORD", f">{cpu}").replace(">WALL_PASSWORD", f">{wall}")

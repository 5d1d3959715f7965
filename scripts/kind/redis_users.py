"""Fill passwords into the ACL file of the CPUs' Redis."""

from __future__ import annotations

from scripts.local.settings import REPOSITORY

USERS = REPOSITORY / "scripts/cluster/redis-users.acl"


def acl_file(*, cpu: str, wall: str) -> str:
    """Return the text of an ACL file with these passwords, without comments, which Redis rejects."""
    lines = [line for line in USERS.read_text().splitlines() if line.startswith("user ")]
    text = "\n".join([*lines, ""])
    return text.replace(">CPU_PASSWORD", f">{cpu}").replace(">WALL_PASSWORD", f">{wall}")

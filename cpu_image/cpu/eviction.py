"""Whether Redis may evict the CPUs' keys. All of them expire some day, so that every policy but one may."""

from typing import Any

from redis import exceptions

from cpu.errors import RefusedError
from cpu.redis_client import Client

SAFE = "noeviction"


def check(client: Client) -> str:
    """Return a warning where Redis would evict keys if its memory were limited; empty where it never does.

    Also empty where the user may not ask it (INFO). Raises RefusedError where its memory is limited.
    """
    try:
        found: Any = client.info("memory")
    except exceptions.ResponseError:
        return ""
    # Of a cluster's nodes there is one each.
    nodes = [one for one in (found, *found.values()) if isinstance(one, dict) and "maxmemory_policy" in one]
    evicting = [node for node in nodes if node["maxmemory_policy"] != SAFE]
    if not evicting:
        return ""
    policy = evicting[0]["maxmemory_policy"]
    remedy = f"(maxmemory-policy {policy}), and a CPU cannot run on with a part of it: set it to {SAFE}"
    if any(int(node["maxmemory"]) for node in evicting):
        raise RefusedError(f"Redis evicts the CPUs' memory when it is full {remedy}")
    return f"Redis would evict the CPUs' memory if it had a maxmemory {remedy}"

"""What `store` finds out about Redis before it keeps anything there, as far as its user may ask."""

from typing import Any

from redis import exceptions
from redis.client import Redis

from cpu.errors import RefusedError
from cpu.redis_client import Client
from cpu.redis_errors import CLUSTER

SAFE_POLICY = "noeviction"


def check(client: Client) -> str:
    """Return a warning, empty where there is none.

    Raises RefusedError where Redis evicts keys when its memory is full, and where it is a cluster of several
    nodes of which the client knows one. A user who may not run INFO is told nothing.
    """
    try:
        info: Any = client.info()
        if isinstance(client, Redis) and info.get("cluster_enabled"):
            _require_one_node(client)
    except exceptions.ResponseError:
        return ""
    # Of a cluster's nodes there is one each.
    nodes = [one for one in (info, *info.values()) if isinstance(one, dict) and "maxmemory_policy" in one]
    # All keys of the CPUs expire some day, so that every policy but one evicts them.
    evicting = [node for node in nodes if node["maxmemory_policy"] != SAFE_POLICY]
    if not evicting:
        return ""
    policy = evicting[0]["maxmemory_policy"]
    remedy = (
        f"(maxmemory-policy {policy}), and a CPU cannot run on with a part of it: set it to {SAFE_POLICY}"
    )
    if any(int(node["maxmemory"]) for node in evicting):
        raise RefusedError(f"Redis evicts the CPUs' memory when it is full {remedy}")
    return f"Redis would evict the CPUs' memory if it had a maxmemory {remedy}"


def _require_one_node(client: Redis) -> None:
    """Raise RefusedError where other nodes have slots as well: only some start runs would fail."""
    ask: Any = client.execute_command
    cluster = ask("CLUSTER INFO")
    if int(cluster["cluster_size"]) > 1:
        raise RefusedError(CLUSTER)

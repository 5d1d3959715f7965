"""What `store` checks about Redis before it stores anything."""

from typing import Any

from redis import exceptions
from redis.client import Redis

from cpu.errors import PreconditionError
from cpu.redis_client import Client
from cpu.redis_errors import CLUSTER

SAFE_POLICY = "noeviction"


def check(client: Client) -> str:
    """Return a warning if Redis would evict keys as soon as it has a maxmemory, else "".

    Raises PreconditionError if Redis evicts keys when its memory is full, or if it is a cluster of several
    nodes and the client is not one for clusters. Nothing is checked for a user who may not run INFO.
    """
    try:
        info: Any = client.info()
        if isinstance(client, Redis) and info.get("cluster_enabled"):
            _require_one_node(client)
    except exceptions.ResponseError:
        return ""
    # A cluster client returns a dictionary of each node's info.
    nodes = [one for one in (info, *info.values()) if isinstance(one, dict) and "maxmemory_policy" in one]
    # All keys of the CPUs have a TTL, so that each of the other policies may evict them.
    evicting = [node for node in nodes if node["maxmemory_policy"] != SAFE_POLICY]
    if not evicting:
        return ""
    policy = evicting[0]["maxmemory_policy"]
    remedy = (
        f"(maxmemory-policy {policy}), and a CPU cannot run on with a part of it: set it to {SAFE_POLICY}"
    )
    if any(int(node["maxmemory"]) for node in evicting):
        raise PreconditionError(f"Redis evicts the CPUs' memory when it is full {remedy}")
    return f"Redis would evict the CPUs' memory if it had a maxmemory {remedy}"


def _require_one_node(client: Redis) -> None:
    """Raise PreconditionError if other nodes have slots too: start runs in those slots would fail."""
    ask: Any = client.execute_command
    cluster = ask("CLUSTER INFO")
    if int(cluster["cluster_size"]) > 1:
        raise PreconditionError(CLUSTER)

"""A fast import of redis, which otherwise takes half of the time in which a pod's Python gets ready.

`import redis` runs all of redis, also its asyncio, Sentinel and Cluster clients, and what each of these
imports. After `prepare`, the packages in SKIPPED are found but their own code is not run: of their modules
only those are loaded that are imported by name, such as `redis.client`. This is only for a process that runs
one command and nothing else: asyncio does not work in it.
"""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType

SKIPPED = ["redis", "redis.asyncio", "importlib.metadata"]


def prepare(*, tls: bool) -> None:
    """Make later imports of redis fast. Without `tls`, rediss:// does not work."""
    if "redis" in sys.modules or not find_spec("redis"):
        return  # a parent process has done this before the fork, or redis is not installed
    for name in SKIPPED:
        if spec := find_spec(name):
            sys.modules[name] = module_from_spec(spec)
    # redis' parsers, which both kinds of client import, have these names in annotations and except clauses.
    asyncio = ModuleType("asyncio")
    asyncio.__dict__.update(Lock=object, StreamReader=object, IncompleteReadError=EOFError)
    sys.modules["asyncio"] = asyncio
    if not tls:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # as in a Python built without it

"""redis without what no command of ours uses: it is half of the time in which a pod's Python gets ready.

`import redis` imports all of redis (its twin for asyncio, Sentinel, Cluster), and what each of these needs
in turn. Here those packages are found but not run: of their modules only those are loaded that are
imported by name, as `redis.client`. This is for a process that is one command and nothing else: in
another one somebody might want asyncio.
"""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType

UNRUN = ["redis", "redis.asyncio", "importlib.metadata"]


def prepare(*, tls: bool) -> None:
    """Make this process' imports of redis lean, where there is a redis; with `tls`, rediss:// works."""
    if "redis" in sys.modules or not find_spec("redis"):
        return  # done already, by a parent that forked this process; or there is none
    for name in UNRUN:
        if spec := find_spec(name):
            sys.modules[name] = module_from_spec(spec)
    # What modules for both worlds, redis' parsers for one, name in annotations and except clauses.
    asyncio = ModuleType("asyncio")
    asyncio.__dict__.update(Lock=object, StreamReader=object, IncompleteReadError=EOFError)
    sys.modules["asyncio"] = asyncio
    if not tls:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # as in a Python built without it

"""redis without what no command of ours uses: half of the time a pod's Python takes to begin.

redis imports all of itself at once (its twin for asyncio, Sentinel, the reading of package metadata), and
what these need in turn. Here the packages concerned are found but not run, so that only those of their
modules are loaded that are asked for by name, as `redis.client`. It is for a process that is one command
and nothing else: who shares a process with other code must leave that code's asyncio alone.
"""

import importlib
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType


def prepare(*, tls: bool) -> None:
    """Make the imports of redis that follow lean, in this process; `tls` where rediss:// is to work."""
    if not find_spec("redis"):
        return  # `run` needs none
    _leave_unrun("redis")
    _leave_unrun("redis.asyncio")
    _run_when_used(importlib, "metadata")
    sys.modules["asyncio"] = _names_of_asyncio()
    if not tls:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # a Python without it, which redis knows


def _leave_unrun(name: str) -> None:
    """A package of which the modules can be imported, and that has no names of its own."""
    spec = find_spec(name)
    assert spec
    sys.modules[name] = module_from_spec(spec)


def _run_when_used(package: ModuleType, name: str) -> None:
    spec = find_spec(f"{package.__name__}.{name}")
    assert spec and spec.loader
    spec.loader = LazyLoader(spec.loader)
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    setattr(package, name, module)  # or the import statement would look at the module, which runs it


def _names_of_asyncio() -> ModuleType:
    """What redis' modules for both worlds want of asyncio, to annotate with and to except."""
    asyncio = ModuleType("asyncio")
    asyncio.__dict__.update(Lock=object, StreamReader=object, IncompleteReadError=EOFError)
    return asyncio

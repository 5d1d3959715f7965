"""Imports for a process that forks the commands: all that they import, before it is known which one runs."""

import gc

from cpu import fast_imports

gc.disable()
fast_imports.prepare(tls=True)

from cpu import cli, commands, items_commands  # noqa: E402

__all__ = ["cli", "commands", "items_commands"]

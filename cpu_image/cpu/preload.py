"""What each command imports, imported before it is known which: for a parent that forks the commands."""

import gc

from cpu import fast_imports

gc.disable()
fast_imports.prepare(tls=True)

from cpu import cli, commands, redis_client, start_run  # noqa: E402

__all__ = ["cli", "commands", "redis_client", "start_run"]

"""What each command imports, imported before it is known which: for a parent that forks the commands."""

import gc

from cpu import lean

gc.disable()
lean.prepare(tls=True)

from cpu import arguments, commands, redis_client, start_run  # noqa: E402

__all__ = ["arguments", "commands", "redis_client", "start_run"]

"""Inside the pod: tell Redis, run a command, tell Redis again; `start_time` takes the times from there.

It is handed to the pod's Python as text: python -S -c TEXT COMMAND...
"""

import os
import socket
import sys
from urllib.parse import unquote, urlsplit

url = urlsplit(os.environ["REDIS_URL"])
redis = socket.create_connection((url.hostname, url.port), timeout=10).makefile("rwb")


def tell(command: str) -> None:
    """Send a command that is answered with OK."""
    redis.write(f"{command}\r\n".encode())
    redis.flush()
    answer = redis.readline()
    if answer != b"+OK\r\n":
        sys.exit(f"Redis answers {answer!r}")


tell(f"AUTH {unquote(url.password or '')}")
tell("SET launcher begin")
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status = os.waitpid(pid, 0)
tell("SET launcher end")
sys.exit(os.waitstatus_to_exitcode(status))

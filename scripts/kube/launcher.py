"""Launcher: starts the containers' processes for the endpoint, and ends them if the endpoint is killed.

`python launcher.py DESCRIPTOR` starts programs. `python launcher.py DESCRIPTOR PACKAGE`, run by an image's
interpreter, imports PACKAGE.preload and forks processes that run PACKAGE, because starting Python and
importing modules is most of the cost of a short container. Only the standard library is used.

The endpoint sends requests over the inherited connection: arguments, environment and working directory, then
descriptors for stdin, stdout and stderr. The answer is the new process's id, or an exception. When a process
ends, its id and exit code are sent. After the request None, the launcher exits with its last process.

Each process leads a group, which ends with it, as a container does. When the connection closes, all end.
"""

import contextlib
import importlib
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

Request = tuple[list[str], dict[str, str], str]


def main() -> None:
    """Start processes on request; once the endpoint is gone, kill those that are left."""
    client: Connection[Any, Any] = Connection(int(sys.argv[1]))
    package = sys.argv[2] if len(sys.argv) > 2 else ""
    if package:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
        importlib.import_module(f"{package}.preload")
    groups: set[int] = set()
    try:
        serve(client, package, groups)
    except (EOFError, ConnectionError):
        for group in groups:
            kill(group)


def serve(client: "Connection[Any, Any]", package: str, groups: set[int]) -> None:
    """Answer the client's requests; `groups` holds the processes that have not ended."""
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    is_retired = False
    while groups or not is_retired:
        ready = wait([client, wakeup])
        if wakeup in ready:
            os.read(wakeup, 4096)
            report_ended(client, groups)
        if client in ready:
            request: Request | None = client.recv()
            if request is None:
                is_retired = True
                continue
            with socket.socket(fileno=os.dup(client.fileno())) as channel:
                descriptors = socket.recv_fds(channel, 1, 3)[1]
            try:
                pid = start(package, request, descriptors, [client.fileno(), wakeup, waker])
            except (OSError, ValueError) as problem:
                client.send(problem)
            else:
                groups.add(pid)
                client.send(pid)
            for descriptor in descriptors:
                os.close(descriptor)


def report_ended(client: "Connection[Any, Any]", groups: set[int]) -> None:
    """Reap ended processes, kill the rest of their groups, send their exit codes (128+n after signal n)."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            # As long as the group has a member, the system gives its id to no other process.
            kill(pid)
            groups.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            client.send((pid, code if code >= 0 else 128 - code))


def kill(group: int) -> None:
    """Kill a process group, if it has members."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def start(package: str, request: Request, descriptors: list[int], inherited: list[int]) -> int:
    """Start a process: a fork that runs the package, or without one a program; return its id."""
    if package:
        pid = os.fork()
        if pid == 0:
            run(package, request, descriptors, inherited)
        return pid
    arguments, environment, folder = request
    stdin, stdout, stderr = descriptors
    process = subprocess.Popen(
        arguments,
        env=environment,
        cwd=folder,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        umask=0o022,
    )
    process.returncode = 0  # it is `report_ended` that waits for the process
    return process.pid


def run(package: str, request: Request, descriptors: list[int], inherited: list[int]) -> NoReturn:
    """Run the package in this forked process as `python -m` would in a new one."""
    code = 1
    try:
        arguments, environment, folder = request
        os.setsid()
        os.umask(0o022)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        for descriptor in (*descriptors, *inherited):
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
    main()

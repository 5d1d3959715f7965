"""The parent that forks an image's containers, run by the image's own interpreter: see `WarmParent`.

In a folder of its own, for Python looks there first for what it imports.

It reads requests from one socket: a line of JSON with two descriptors asks for a child, a number allows to
reap that one. It tells of children's ends through a pipe, as "PID CODE" lines of few bytes each. When nobody
speaks to it any more, it ends. Nothing but the standard library.
"""

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
    """Import, then fork until the other side is gone."""
    package, requests, told = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
    sys.path[0] = str(Path.cwd())  # as `python -m` has it
    importlib.import_module(f"{package}.preload")
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: set[int] = set()
    buffer, descriptors = b"", list[int]()
    while True:
        ready, _, _ = select.select([requests.fileno(), wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            for pid in [pid for pid in running if has_ended(pid)]:
                running.remove(pid)
                os.write(told, b"%d %d\n" % (pid, code_of(pid)))
        if requests.fileno() in ready:
            data, more, _, _ = socket.recv_fds(requests, 1 << 20, 2)
            if not data:
                return
            buffer, descriptors = buffer + data, descriptors + more
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                request = json.loads(line)
                if isinstance(request, int):
                    os.waitpid(request, 0)
                    continue
                given, descriptors = descriptors[:2], descriptors[2:]
                pid = os.fork()
                if pid == 0:
                    become(package, request, given, [requests.detach(), told, wakeup, waker])
                running.add(pid)
                for descriptor in given:
                    os.close(descriptor)
                requests.sendall(b"%d\n" % pid)


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def code_of(pid: int) -> int:
    """An ended child's exit code, 128+n after signal n."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None  # noqa: S101  (it has ended)
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def become(package: str, request: dict[str, Any], given: list[int], inherited: list[int]) -> NoReturn:
    """Be the container's process."""
    code = 1
    try:
        os.setsid()
        os.umask(0o022)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(given[0], 1)
        os.dup2(given[1], 2)
        for descriptor in (*given, *inherited):
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
    main()

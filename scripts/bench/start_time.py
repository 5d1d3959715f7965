"""Measure how long a cycle's pod takes from its process' start to its first Redis command, on a real cluster.

    python -m scripts.bench.start_time --kubeconfig ~/.kube/config --image cpu:dev --host-for-pods 192.0.2.7

Pods run one after another, alternately with the image's own command (`store`) and with a bare `python -c
pass` in the same image. In both, a launcher is the container's first process: it sends a command to Redis
right before it starts the pod's command, and another one when that has ended. All times are from Redis' own
clock, as its MONITOR shows them in microseconds:

- cycle: from the launcher's first command to the first command over another connection;
- python: from the launcher's first command to its second.

So the time includes all that the process does, from `exec` and Python's own start to connecting over the
pod's network. It excludes what Kubernetes does before (scheduling, sandbox, pulling the image), and reading
Python's own files for the first time, which the launcher has done: it is a Python program too.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from redis import Redis

from scripts.bench.pods import run_pod
from scripts.command import run_command
from scripts.local.services.redis import binary
from scripts.local.settings import write_private
from scripts.namespaces import temporary_namespace
from scripts.progress import with_progress_bar
from scripts.waiting import wait_until

PYTHON = "/usr/local/bin/python"
PROGRAM = base64.b64encode(zlib.compress(b"acc +1")).decode()
COMMANDS = {
    "cycle": [PYTHON, "-S", "-m", "cpu", "store", "--start", "bench", "--encoded", PROGRAM],
    "python": [PYTHON, "-c", "pass"],
}
ANSWER_SECONDS = 60.0
LAUNCHER = Path(__file__).with_name("launcher.py").read_text()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the times."""
    options = parse(arguments)
    try:
        api_client = config.new_client_from_config(config_file=options.kubeconfig, context=options.context)
    except ConfigException as error:
        sys.exit(f"{options.kubeconfig} is not a usable kubeconfig: {error}")
    api = client.CoreV1Api(api_client)
    try:
        with redis_server(options.host_for_pods) as url, temporary_namespace(api, "cpu-bench") as namespace:
            seconds = measure(api, namespace, url, options.image, options.pods)
    finally:
        api_client.close()
    print(json.dumps(seconds) if options.json else table(seconds))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.start_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 success, 1 failure, with the reason on standard error, 2 wrong options, 130 "
        "interrupted",
    )
    parser.add_argument("--kubeconfig", required=True, help="the kubeconfig of the cluster to measure on")
    parser.add_argument("--context", help="the kubeconfig's context to use")
    parser.add_argument("--image", default="cpu:dev", help="the image, as the cluster knows it (cpu:dev)")
    parser.add_argument(
        "--host-for-pods", required=True, help="an address of this machine that pods can reach, for Redis"
    )
    parser.add_argument("--pods", type=int, default=20, help="the number of pods of each kind (20)")
    parser.add_argument("--json", action="store_true", help="print all times, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if options.pods < 1:
        parser.error(f"--pods is {options.pods}: expected 1 or more")
    return options


def measure(api: Any, namespace: str, url: str, image: str, times: int) -> dict[str, list[float]]:
    """Run so many pods of each kind; return the seconds of each, by kind."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as redis, redis.monitor() as monitor:
        for number in with_progress_bar(range(times), "pods of each kind"):
            for name, command in COMMANDS.items():
                launched = [PYTHON, "-S", "-c", LAUNCHER, *command]
                run_pod(api, namespace, f"{name}-{number}", image, launched, url)
                began, first, over = times_of(monitor.listen())
                seconds[name].append((over if name == "python" else first) - began)
    return seconds


def times_of(commands: Iterator[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the times of a launcher's begin, of another connection's first command, and of its end.

    If no other connection sent a command, the second time equals the third.
    """
    began = first = 0.0
    launcher = ""
    for seen in commands:
        command, port, time = seen["command"], seen["client_port"], seen["time"]
        if command == "SET launcher begin":
            began, launcher = time, port
        elif command == "SET launcher end":
            return began, first or time, time
        elif began and not first and port != launcher:
            first = time
    raise AssertionError("Redis' MONITOR does not end")


@contextlib.contextmanager
def redis_server(host: str) -> Iterator[str]:
    """Start a Redis with a password on that address; yield its URL."""
    try:
        with socket.create_server((host, 0)) as probe:
            port = probe.getsockname()[1]
    except OSError as error:
        sys.exit(
            f"cannot listen on {host} ({error.strerror}): give an address of this machine as --host-for-pods"
        )
    password = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="cpu-bench-") as folder:
        file = Path(folder) / "redis.conf"
        write_private(file, f'bind {host}\nport {port}\nrequirepass {password}\nsave ""\ndir "{folder}"\n')
        with subprocess.Popen([binary(), str(file)], stdout=subprocess.DEVNULL) as process:
            try:
                if not wait_until(lambda: accepts(host, port), 30):
                    sys.exit(f"the Redis server does not listen on {host}:{port}")
                yield f"redis://:{password}@{host}:{port}/0"
            finally:
                process.terminate()


def accepts(host: str, port: int) -> bool:
    """Return whether a server listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def table(seconds: dict[str, list[float]]) -> str:
    """Return the times in milliseconds, and their ratio."""
    lines = [f"{'ms':<28}{'median':>8}{'min':>8}{'max':>8}"]
    names = {"cycle": "to the first Redis command", "python": "python -c pass"}
    for name, values in seconds.items():
        row = [f"{value * 1000:8.0f}" for value in (median(values), min(values), max(values))]
        lines.append(f"{names[name]:<28}{''.join(row)}")
    ratio = median(seconds["cycle"]) / median(seconds["python"])
    return "\n".join([*lines, f"{ratio:.1f} times a bare Python, {len(seconds['cycle'])} pods each"])


if __name__ == "__main__":
    sys.exit(run_command(main))

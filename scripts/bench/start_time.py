"""How long a cycle's pod takes from its process' start to its first Redis command, on a real cluster.

    python -m scripts.bench.start_time --kubeconfig ~/.kube/config --image cpu:dev --host-for-pods 192.0.2.7

Pods run one after another, by turns one of the image's own command (`store`) and one of a bare
`python -c pass` in the same image. Both are started by the same launcher, which is the container's first
process: it tells Redis right before it starts the command, and again when the command has ended.
All times are Redis' own, as its MONITOR tells them in microseconds, so that no two clocks are compared:

- cycle: from the first of these to the first command that comes over another connection;
- python: from the first of these to the second.

So it holds all that the process does, from `exec` and Python's own start to connecting over the pod's
network. It leaves out what Kubernetes does before (scheduling, sandbox, pulling the image), and the first
look at Python's own files, which the launcher, a Python itself, has had just before.
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

from scripts.bench.pods import Pods, namespace
from scripts.command import ended
from scripts.local.services.redis import binary
from scripts.local.settings import write_private
from scripts.progress import counted
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
    """Measure and print."""
    options = parse(arguments)
    try:
        connected = config.new_client_from_config(config_file=options.kubeconfig, context=options.context)
    except ConfigException as error:
        sys.exit(f"{options.kubeconfig} is no kubeconfig to use: {error}")
    try:
        with redis_server(options.host_for_pods) as url, namespace(client.CoreV1Api(connected)) as pods:
            seconds = measure(pods, url, options.image, options.pods)
    finally:
        connected.close()
    print(json.dumps(seconds) if options.json else table(seconds))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.start_time", description=__doc__, formatter_class=raw
    )
    parser.epilog = "exit code: 0 it is measured, 1 it failed, and standard error says why, 130 interrupted"
    parser.add_argument("--kubeconfig", required=True, help="the cluster to measure on")
    parser.add_argument("--context", help="the context to use of it")
    parser.add_argument("--image", default="cpu:dev", help="the image, as the cluster knows it (cpu:dev)")
    parser.add_argument(
        "--host-for-pods", required=True, help="an address of this machine that pods can reach: for Redis"
    )
    parser.add_argument("--pods", type=int, default=20, help="how many of each kind (20)")
    parser.add_argument("--json", action="store_true", help="print all times, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if options.pods < 1:
        parser.error(f"--pods is {options.pods}: expected 1 or more")
    return options


def measure(pods: Pods, url: str, image: str, times: int) -> dict[str, list[float]]:
    """The seconds of each pod, by what it ran."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as redis, redis.monitor() as monitor:
        for number in counted(range(times), "pods of each kind"):
            for name, command in COMMANDS.items():
                pods.run(f"{name}-{number}", image, [PYTHON, "-S", "-c", LAUNCHER, *command], url)
                begin, first, end = moments(monitor.listen())
                seconds[name].append((end if name == "python" else first) - begin)
    return seconds


def moments(commands: Iterator[dict[str, Any]]) -> tuple[float, float, float]:
    """When a launcher began, when the first other connection sent a command (else the end), and the end."""
    begin = first = 0.0
    launcher = ""
    for seen in commands:
        command, port, time = seen["command"], seen["client_port"], seen["time"]
        if command == "SET launcher begin":
            begin, launcher = time, port
        elif command == "SET launcher end":
            return begin, first or time, time
        elif begin and not first and port != launcher:
            first = time
    raise AssertionError("Redis' MONITOR does not end")


@contextlib.contextmanager
def redis_server(host: str) -> Iterator[str]:
    """The URL of a Redis of the benchmark's own that listens on that address, with a password."""
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
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def table(seconds: dict[str, list[float]]) -> str:
    """The times in milliseconds, and how many times a bare Python's the cycle's is."""
    lines = [f"{'ms':<28}{'median':>8}{'min':>8}{'max':>8}"]
    names = {"cycle": "to the first Redis command", "python": "python -c pass"}
    for name, values in seconds.items():
        row = [f"{value * 1000:8.0f}" for value in (median(values), min(values), max(values))]
        lines.append(f"{names[name]:<28}{''.join(row)}")
    ratio = median(seconds["cycle"]) / median(seconds["python"])
    return "\n".join([*lines, f"{ratio:.1f} times a bare Python, {len(seconds['cycle'])} pods each"])


if __name__ == "__main__":
    sys.exit(ended(main))

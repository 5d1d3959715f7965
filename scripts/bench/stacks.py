"""Temporary stacks for benchmarks, with the DAGs of all designs, here or with a real cluster."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts.local.ports import free_ports
from scripts.local.settings import REPOSITORY, Settings, load_or_default
from scripts.waiting import wait_until

ON_A_CLUSTER = ("job",)
"""The designs that only a real cluster can run."""


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a real cluster."""
    parser.add_argument("--kubeconfig", type=Path, help="run the pods on this real cluster")
    parser.add_argument("--context", help="the kubeconfig's context to use")
    parser.add_argument("--image", help="the image, as that cluster knows it")
    parser.add_argument(
        "--pods-reach-host-at",
        "--host-for-pods",
        metavar="ADDRESS",
        help="this machine's address, as the pods see it",
    )


def add_design_options(
    parser: argparse.ArgumentParser, designs: Sequence[str], default: Sequence[str]
) -> None:
    """Add the options that choose the designs to measure, and the file for the numbers."""
    parser.add_argument(
        "--designs",
        nargs="+",
        choices=designs,
        default=default,
        help=f"the designs to measure, in this order ({' '.join(default)})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file")


def leave_out(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Move the designs that need a real cluster to ``left_out`` unless the options name one.

    Exits with 2 if none is left.
    """
    options.left_out = [] if options.kubeconfig else [one for one in options.designs if one in ON_A_CLUSTER]
    options.designs = [one for one in options.designs if one not in options.left_out]
    if not options.designs:
        parser.error("--designs: the local endpoint has no Jobs; give the kubeconfig of a cluster that has")


def print_left_out(options: argparse.Namespace) -> None:
    """Print which designs were left out, if any."""
    if options.left_out:
        print(f"left out: {', '.join(options.left_out)}; the local endpoint has no Jobs, give --kubeconfig")


def cluster_options(options: argparse.Namespace) -> list[str]:
    """Return the options about the cluster, as the stack's `up` takes them."""
    names = ("kubeconfig", "context", "image", "pods_reach_host_at")
    given = {name: getattr(options, name) for name in names}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value]


@contextlib.contextmanager
def dags() -> Iterator[Path]:
    """Yield a temporary folder that links to the project's DAGs and those of the other designs."""
    with tempfile.TemporaryDirectory(prefix="cpu-bench-dags-") as temporary:
        folder = Path(temporary).resolve()
        for name, source in (("ours", REPOSITORY / "dags"), ("others", Path(__file__).parent / "designs")):
            (folder / name).symlink_to(source)
        yield folder


@contextlib.contextmanager
def temporary_stack(*options: str) -> Iterator[Settings]:
    """Bring up a stack with these options of `up`, and yield its settings; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="cpu-bench-") as folder:
        state = (Path(folder) / "state").resolve()
        port, redis_port, kube_port = free_ports(3)
        ports = [f"--port={port}", f"--redis-port={redis_port}", f"--kube-port={kube_port}"]
        try:
            _run_command(state, "up", *ports, *options)
            yield load_or_default(state)
        finally:
            _run_command(state, "down", "--purge")


def _run_command(state: Path, *arguments: str) -> None:
    """Run a command of the stack; if it fails, exit the program with its code."""
    command = [sys.executable, "-m", "scripts.local", *arguments]
    environment = {**os.environ, "STACK_DIR": str(state)}
    # Its output goes to standard error: standard output is for the benchmark's findings only.
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        sys.exit(done.returncode)  # the command has printed why


def wait_or_exit(predicate: Callable[[], bool], seconds: float, failure: str) -> None:
    """Wait until the predicate is true; after so many seconds, exit the program with this message.

    Polls once a second only, as each poll takes CPU time from what is measured.
    """
    if not wait_until(predicate, seconds, interval=1):
        sys.exit(failure)

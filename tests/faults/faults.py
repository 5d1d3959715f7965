"""What may go wrong, done to a stack that is at work. Each fault returns what it did, in a few words."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
from kubernetes.client import ApiException

from scripts.local import cluster, supervisor
from tests.airflow.stack import Stack
from tests.slack.server import Fault as SlackFault

Fault = Callable[[Stack, random.Random], str]

COMPONENTS = ("scheduler", "triggerer", "api-server", "dag-processor", "postgres", "redis", "kubernetes")
PAUSE_SECONDS = 30.0
NOTHING = ""
"""There was nothing to do it to."""


def kill(name: str) -> Fault:
    """End a component at once, as a crash or the kernel would; supervisord starts it again."""

    def fault(stack: Stack, _: random.Random) -> str:
        pid = pid_of(stack, name)
        if not pid:
            return NOTHING
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"{name} killed"

    return fault


def pause(name: str) -> Fault:
    """Have a component stand still for half a minute, as on a machine that swaps."""

    def fault(stack: Stack, _: random.Random) -> str:
        pid = pid_of(stack, name)
        if not pid:
            return NOTHING
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        signal_all(processes, signal.SIGSTOP)
        threading.Timer(PAUSE_SECONDS, signal_all, [processes, signal.SIGCONT]).start()
        return f"{name} paused for {PAUSE_SECONDS:.0f} s"

    return fault


def pid_of(stack: Stack, name: str) -> int:
    state = supervisor.states(stack.settings).get(name)
    return state.pid if state and state.is_running else 0


def signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def kill_worker(stack: Stack, choice: random.Random) -> str:
    """End one of the processes in which the scheduler's tasks are at work."""
    pid = pid_of(stack, "scheduler")
    with suppress(psutil.NoSuchProcess):
        workers = psutil.Process(pid).children(recursive=True) if pid else []
        if workers:
            choice.choice(workers).kill()
            return "a worker killed"
    return NOTHING


def kill_pod(stack: Stack, choice: random.Random) -> str:
    """End a container's process at whatever it does: before, during or after its commit."""
    pid = pid_of(stack, "kubernetes")
    with suppress(psutil.NoSuchProcess):
        containers = psutil.Process(pid).children() if pid else []
        if containers:
            choice.choice(containers).kill()
            return "a pod's process killed"
    return NOTHING


def delete_pod(stack: Stack, choice: random.Random) -> str:
    """Delete a pod, as somebody with kubectl might."""
    api = cluster.core_api(stack.settings)
    with suppress(ApiException, OSError):
        pods = api.list_namespaced_pod(stack.settings.namespace).items
        if pods:
            api.delete_namespaced_pod(choice.choice(pods).metadata.name, stack.settings.namespace)
            return "a pod deleted"
    return NOTHING


def cut_off_redis(stack: Stack, _: random.Random) -> str:
    """Close every connection to Redis."""
    with suppress(Exception):
        stack.redis.client_kill_filter(_type="normal", skipme=True)
        return "Redis' connections cut"
    return NOTHING


def slack(fault: SlackFault, words: str) -> Fault:
    """Have Slack answer the next request so."""

    def inject(stack: Stack, _: random.Random) -> str:
        stack.slack.faults.put(fault)
        return words

    return inject


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": kill(name) for name in COMPONENTS},
    **{f"pause {name}": pause(name) for name in COMPONENTS},
    "kill a worker": kill_worker,
    "kill a pod": kill_pod,
    "delete a pod": delete_pod,
    "cut off Redis": cut_off_redis,
    "Slack: 429": slack(
        SlackFault(429, "ratelimited", {"Retry-After": "2"}), "Slack asks to come again in 2 s"
    ),
    "Slack: 500": slack(SlackFault(500), "Slack is out of order"),
    "Slack: accepts, and fails": slack(SlackFault(500, accepts=True), "Slack accepts, and answers 500"),
}


def inject_until(
    over: threading.Event, stack: Stack, choice: random.Random, names: list[str], most: int
) -> list[str]:
    """Inject faults at random moments until it is over; what was done, with the seconds it was done at."""
    began = time.monotonic()
    done: list[str] = []
    while len(done) < most and not over.wait(choice.uniform(1, 6)):
        if what := FAULTS[choice.choice(names)](stack, choice):
            done.append(f"{time.monotonic() - began:5.1f} s  {what}")
            print(done[-1], flush=True)
    return done

"""Inject faults into a running stack."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from kubernetes.client import ApiException
from redis import RedisError

from scripts.local import supervisor
from scripts.local.services import kubernetes
from scripts.waiting import wait_until
from tests.faults.proxy import FIRST, SECOND, Proxy
from tests.faults.second_scheduler import SecondScheduler
from tests.support.slack.server import Fault as SlackFault
from tests.support.stack import Stack

AIRFLOW = ("scheduler", "triggerer", "api-server", "dag-processor")
SERVERS = ("postgres", "redis", "kubernetes")
NODE = ("kube-apiserver", "kubelet", "etcd")
"""Processes of a real Kubernetes, paused if the cluster under test runs on this machine."""
PAUSE_SECONDS = 30.0
API_SECONDS = 10.0
"""How long the Kubernetes API refuses requests, is cut off or repeats itself."""
MOMENT_SECONDS = 20.0
"""How long a fault waits for its moment in the life of a pod."""


@dataclass
class Chaos:
    """The stack under test, its start runs, pending repairs, and how often each fault was injected."""

    stack: Stack
    choice: random.Random
    proxy: Proxy
    second: SecondScheduler | None = None
    starts: dict[str, str] = field(default_factory=dict)  # start run → the DAG run of cpu_start
    later: list[threading.Timer] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


Fault = Callable[[Chaos], bool]
"""Injects a fault; returns False if there was nothing to inject it into."""


def kill(name: str) -> Fault:
    """Kill a component with SIGKILL; supervisord starts it again."""

    def fault(chaos: Chaos) -> bool:
        return any(signal_all(component(chaos, name), signal.SIGKILL))

    return fault


def pause(name: str) -> Fault:
    """Stop all processes of a component for a while with SIGSTOP, as on a machine that swaps."""

    def fault(chaos: Chaos) -> bool:
        own = named(name) if name in NODE else component(chaos, name)
        stopped = signal_all([*own, *children(own)], signal.SIGSTOP)
        timer = threading.Timer(PAUSE_SECONDS, signal_all, [stopped, signal.SIGCONT])
        chaos.later.append(timer)
        timer.start()
        return bool(stopped)

    return fault


def kill_worker(chaos: Chaos) -> bool:
    """Kill one of the processes in which tasks run."""
    workers = children(component(chaos, "scheduler"))
    return bool(workers) and any(signal_all([chaos.choice.choice(workers)], signal.SIGKILL))


def kill_pods(chaos: Chaos) -> bool:
    """Kill the container's process of every running pod, usually before its commit."""
    return any(signal_all(pods(chaos), signal.SIGKILL))


def kill_pods_as_they_commit(chaos: Chaos) -> bool:
    """Kill pods after they have sent their commits, which Redis executes once they are dead."""
    redis = component(chaos, "redis")
    signal_all(redis, signal.SIGSTOP)
    try:
        if not wait_until(lambda: bool(pods(chaos)), 5):
            return False
        time.sleep(1)  # for a pod that is just starting to send its commit
        return any(signal_all(pods(chaos), signal.SIGKILL))
    finally:
        signal_all(redis, signal.SIGCONT)


def kill_pods_after_their_commit(chaos: Chaos) -> bool:
    """Kill pods as soon as Redis has executed a commit, milliseconds before they leave their result."""
    with suppress(RedisError), chaos.stack.redis.monitor() as monitor:  # type: ignore[no-untyped-call]
        until = time.monotonic() + 10
        while time.monotonic() < until:
            # Found beforehand, because finding them takes longer than they live.
            if at_work := pods(chaos):
                found = time.time()
                while not is_commit(monitor.next_command(), found):
                    pass
                if any(signal_all(at_work, signal.SIGKILL)):
                    return True
    return False


def is_commit(command: dict[str, Any], since: float) -> bool:
    """Return whether Redis has executed a script since then."""
    return command["time"] >= since and "evalsha" in command["command"].lower()


def delete_pod(chaos: Chaos) -> bool:
    """Delete pods, as a person with kubectl might."""
    namespace = chaos.stack.settings.namespace
    api = kubernetes.core_api(chaos.stack.settings)
    with suppress(ApiException, OSError):
        if there := api.list_namespaced_pod(namespace).items:
            api.delete_namespaced_pod(chaos.choice.choice(there).metadata.name, namespace)
            return True
    return False


def cut_off_redis(chaos: Chaos) -> bool:
    """Close every connection to Redis, whatever it is used for at the moment."""
    with suppress(RedisError):
        return bool(chaos.stack.redis.client_kill_filter(_type="normal", skipme=True))
    return False


def delete_pods_twice(chaos: Chaos) -> bool:
    """Delete all pods, and those that follow them too."""
    namespace, api = chaos.stack.settings.namespace, kubernetes.core_api(chaos.stack.settings)
    deleted = 0
    for pause in (0, 0.5):
        time.sleep(pause)
        with suppress(ApiException, OSError):
            for pod in api.list_namespaced_pod(namespace).items:
                with suppress(ApiException):
                    api.delete_namespaced_pod(pod.metadata.name, namespace)
                    deleted += 1
    return deleted > 0


def delete_a_pod_that_ended(chaos: Chaos) -> bool:
    """Delete a pod before its end is reported: its cycle is committed, and another pod repeats it."""
    namespace, api = chaos.stack.settings.namespace, kubernetes.core_api(chaos.stack.settings)

    def delete(_: str, pod: str) -> None:
        with suppress(ApiException, OSError):
            api.delete_namespaced_pod(pod, namespace, grace_period_seconds=0)

    return chaos.proxy.at("finished", delete, MOMENT_SECONDS)


def cut_off_kubernetes(chaos: Chaos) -> bool:
    """Close every connection to the Kubernetes API, and each new one for a while."""
    return chaos.proxy.cut_off(API_SECONDS)


def refuse(code: int) -> Fault:
    """Have the Kubernetes API answer every request with this status for a while."""
    return lambda chaos: chaos.proxy.refuse(code, API_SECONDS)


def end_watches(code: int) -> Fault:
    """End the watches of pods with this error, or without one if it is 0."""
    return lambda chaos: chaos.proxy.end_watches(code)


def repeat_events(chaos: Chaos) -> bool:
    """Report everything about pods twice for a while: each of them ends twice."""
    return chaos.proxy.repeat_events(API_SECONDS)


def schedulers(chaos: Chaos, name: str) -> list[psutil.Process]:
    """Return the main process of the stack's own scheduler, or of the second one."""
    if name == SECOND:
        return chaos.second.processes() if chaos.second else []
    return component(chaos, "scheduler")


def kill_scheduler(moment: str, seconds: float = 0) -> Fault:
    """Kill the scheduler that waits for a pod, at that moment or up to so many seconds later.

    A pod's end is reported before the scheduler commits it, and its deletion is requested after that.
    """

    def fault(chaos: Chaos) -> bool:
        later = chaos.choice.uniform(0, seconds)

        def kill_it(scheduler: str, _: str) -> None:
            targets = schedulers(chaos, scheduler)
            if later:
                threading.Timer(later, signal_all, [targets, signal.SIGKILL]).start()
            else:
                signal_all(targets, signal.SIGKILL)

        return chaos.proxy.at(moment, kill_it, MOMENT_SECONDS)

    return fault


def pause_scheduler(chaos: Chaos) -> bool:
    """Stop a scheduler with SIGSTOP before the end of one of its pods is reported to it."""

    def pause_it(scheduler: str, _: str) -> None:
        stopped = signal_all(schedulers(chaos, scheduler), signal.SIGSTOP)
        timer = threading.Timer(PAUSE_SECONDS, signal_all, [stopped, signal.SIGCONT])
        chaos.later.append(timer)
        timer.start()

    return chaos.proxy.at("finished", pause_it, MOMENT_SECONDS)


def kill_any_scheduler(chaos: Chaos) -> bool:
    """Kill one of the schedulers at any moment."""
    return any(signal_all(schedulers(chaos, chaos.choice.choice((FIRST, SECOND))), signal.SIGKILL))


def slack(fault: SlackFault) -> Fault:
    """Make Slack answer the next post with this fault."""

    def inject(chaos: Chaos) -> bool:
        chaos.stack.slack.faults.put(fault)
        return True

    return inject


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": kill(name) for name in (*AIRFLOW, *SERVERS)},
    **{f"pause {name}": pause(name) for name in (*AIRFLOW, *SERVERS, *NODE)},
    "kill a worker": kill_worker,
    "kill the pods": kill_pods,
    "kill the pods as they commit": kill_pods_as_they_commit,
    "kill the pods after a commit": kill_pods_after_their_commit,
    "delete a pod": delete_pod,
    "cut off Redis": cut_off_redis,
    "delete the pods twice": delete_pods_twice,
    "delete a pod that ended": delete_a_pod_that_ended,
    "cut off Kubernetes": cut_off_kubernetes,
    "Kubernetes: 500": refuse(500),
    "Kubernetes: 429": refuse(429),
    "watches: 410": end_watches(410),
    "watches: 500": end_watches(500),
    "watches end": end_watches(0),
    "watches repeat themselves": repeat_events,
    "kill the scheduler before a commit": kill_scheduler("finished"),
    "kill the scheduler at a commit": kill_scheduler("finished", 0.05),
    "kill the scheduler after a commit": kill_scheduler("deleted"),
    "pause the scheduler before a commit": pause_scheduler,
    "kill any scheduler": kill_any_scheduler,
    "Slack: 429": slack(SlackFault(429, "ratelimited", {"Retry-After": "2"})),
    "Slack: 500": slack(SlackFault(500)),
    "Slack: 500, but it is posted": slack(SlackFault(500, accepts=True)),
    "Slack: no answer": slack(SlackFault(silent=True)),
    "Slack: no answer, but it is posted": slack(SlackFault(silent=True, accepts=True)),
}


def injectable(stack: Stack, names: list[str]) -> list[str]:
    """Return the faults that can be injected into this stack."""
    gone = {"kill kubernetes", "pause kubernetes"} if stack.settings.kubeconfig else set()
    gone |= {f"pause {name}" for name in NODE if not (stack.settings.kubeconfig and named(name))}
    return [name for name in names if name not in gone]


@contextmanager
def injecting(chaos: Chaos, names: list[str], gap: tuple[float, float]) -> Iterator[threading.Thread]:
    """Inject these faults in random order, `gap` seconds apart at random, while the context lasts.

    The yielded thread ends when all have been injected. Leaving the context skips those still to come.
    """
    over = threading.Event()
    began = time.monotonic()
    names = chaos.choice.sample(names, len(names))

    def inject() -> None:
        for name in names:
            if over.wait(chaos.choice.uniform(*gap)):
                return
            while not FAULTS[name](chaos):
                if over.wait(0.02):
                    return
            chaos.done[name] += 1
            print(f"{time.monotonic() - began:6.1f} s  {name}", flush=True)

    thread = threading.Thread(target=inject)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()
        for timer in chaos.later:
            timer.join()


def component(chaos: Chaos, name: str) -> list[psutil.Process]:
    """Return the component's main process, or an empty list if it is not running."""
    state = supervisor.states(chaos.stack.settings).get(name)
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(state.pid)] if state and state.is_running else []
    return []


def children(parents: list[psutil.Process], *, recursive: bool = True) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in parents:
        with suppress(psutil.NoSuchProcess):
            found += process.children(recursive=recursive)
    return found


def pods(chaos: Chaos) -> list[psutil.Process]:
    """Return the processes of running pods: of the local endpoint, or of a node that is this machine."""
    if not chaos.stack.settings.kubeconfig:
        parent_of_all = children(component(chaos, "kubernetes"), recursive=False)
        return children(parent_of_all)

    def is_pod(line: list[str]) -> bool:
        return "--start" in line[:-1] and line[line.index("--start") + 1] in chaos.starts

    return [process for process in psutil.process_iter(["cmdline"]) if is_pod(process.info["cmdline"] or [])]


def named(name: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == name]


def signal_all(targets: list[psutil.Process], number: int) -> list[psutil.Process]:
    """Send a signal to each process and return those that were still running."""
    reached = []
    for process in targets:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                process.send_signal(number)
                reached.append(process)
    return reached

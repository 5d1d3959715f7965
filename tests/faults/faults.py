"""What may go wrong, done to a stack that is at work."""

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
from tests.support.slack.server import Fault as SlackFault
from tests.support.stack import Stack

AIRFLOW = ("scheduler", "triggerer", "api-server", "dag-processor")
SERVERS = ("postgres", "redis", "kubernetes")
NODE = ("kube-apiserver", "kubelet", "etcd")
"""Of a real Kubernetes: paused where the cluster under test is on this machine."""
PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Chaos:
    """A stack to maltreat, its start runs, what is set right again later, and how often what was done."""

    stack: Stack
    choice: random.Random
    starts: dict[str, str] = field(default_factory=dict)  # by start run: the DAG run that began it
    later: list[threading.Timer] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


Fault = Callable[[Chaos], bool]
"""Whether there was anything to do it to."""


def kill(name: str) -> Fault:
    """End a component at once, as a crash or the kernel would; supervisord starts it again."""

    def fault(chaos: Chaos) -> bool:
        return any(signal_all(component(chaos, name), signal.SIGKILL))

    return fault


def pause(name: str) -> Fault:
    """Have a component with all its processes stand still, as on a machine that swaps."""

    def fault(chaos: Chaos) -> bool:
        own = named(name) if name in NODE else component(chaos, name)
        stopped = signal_all([*own, *children(own)], signal.SIGSTOP)
        timer = threading.Timer(PAUSE_SECONDS, signal_all, [stopped, signal.SIGCONT])
        chaos.later.append(timer)
        timer.start()
        return bool(stopped)

    return fault


def kill_worker(chaos: Chaos) -> bool:
    """One of the processes in which the scheduler's tasks are at work."""
    workers = children(component(chaos, "scheduler"))
    return bool(workers) and any(signal_all([chaos.choice.choice(workers)], signal.SIGKILL))


def kill_pods(chaos: Chaos) -> bool:
    """The container's process of every pod at work, wherever it has got to: mostly before its commit."""
    return any(signal_all(pods(chaos), signal.SIGKILL))


def kill_pods_as_they_commit(chaos: Chaos) -> bool:
    """Redis gets their commits, and carries them out when they are gone."""
    redis = component(chaos, "redis")
    signal_all(redis, signal.SIGSTOP)
    try:
        for _ in range(50):
            if pods(chaos):
                # Enough for one that starts to have sent what it has to send.
                time.sleep(1)
                return any(signal_all(pods(chaos), signal.SIGKILL))
            time.sleep(0.1)
        return False
    finally:
        signal_all(redis, signal.SIGCONT)


def kill_pods_after_their_commit(chaos: Chaos) -> bool:
    """As soon as Redis has carried one out, which leaves a pod a few milliseconds to hand over its result."""
    with suppress(RedisError), chaos.stack.redis.monitor() as monitor:  # type: ignore[no-untyped-call]
        until = time.monotonic() + 10
        while time.monotonic() < until:
            # Found beforehand: to look for them takes longer than they have left.
            if at_work := pods(chaos):
                found = time.time()
                while not is_commit(monitor.next_command(), found):
                    pass
                if any(signal_all(at_work, signal.SIGKILL)):
                    return True
    return False


def is_commit(command: dict[str, Any], since: float) -> bool:
    """Whether Redis has carried out a script, and not before that moment."""
    return command["time"] >= since and "evalsha" in command["command"].lower()


def delete_pod(chaos: Chaos) -> bool:
    """As somebody with kubectl might."""
    namespace = chaos.stack.settings.namespace
    api = kubernetes.core_api(chaos.stack.settings)
    with suppress(ApiException, OSError):
        if there := api.list_namespaced_pod(namespace).items:
            api.delete_namespaced_pod(chaos.choice.choice(there).metadata.name, namespace)
            return True
    return False


def cut_off_redis(chaos: Chaos) -> bool:
    """Close every connection to Redis, whatever is under way on it."""
    with suppress(RedisError):
        return bool(chaos.stack.redis.client_kill_filter(_type="normal", skipme=True))
    return False


def slack(fault: SlackFault) -> Fault:
    """Have Slack answer the next post so."""

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
    "Slack: 429": slack(SlackFault(429, "ratelimited", {"Retry-After": "2"})),
    "Slack: 500": slack(SlackFault(500)),
    "Slack: 500, but it is posted": slack(SlackFault(500, accepts=True)),
    "Slack: no answer": slack(SlackFault(silent=True)),
    "Slack: no answer, but it is posted": slack(SlackFault(silent=True, accepts=True)),
}


def there_are(stack: Stack, names: list[str]) -> list[str]:
    """Those of the faults for which this stack has what they are done to."""
    gone = {"kill kubernetes", "pause kubernetes"} if stack.settings.kubeconfig else set()
    gone |= {f"pause {name}" for name in NODE if not (stack.settings.kubeconfig and named(name))}
    return [name for name in names if name not in gone]


@contextmanager
def injecting(chaos: Chaos, names: list[str], gap: tuple[float, float]) -> Iterator[threading.Thread]:
    """Inject these faults in random order, at random moments ``gap`` seconds apart, while in the block.

    The thread ends when all are done. Those still to come at the end of the block are left out.
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
    """The component's own process, where it is running."""
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
    """The processes of its pods at work: on the local endpoint, or on a node that is this machine."""
    if not chaos.stack.settings.kubeconfig:
        parent_of_all = children(component(chaos, "kubernetes"), recursive=False)
        return children(parent_of_all)

    def is_pod(line: list[str]) -> bool:
        return "--start" in line[:-1] and line[line.index("--start") + 1] in chaos.starts

    return [process for process in psutil.process_iter(["cmdline"]) if is_pod(process.info["cmdline"] or [])]


def named(name: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == name]


def signal_all(targets: list[psutil.Process], number: int) -> list[psutil.Process]:
    """Send a signal; to those who were still at work, which are returned."""
    reached = []
    for process in targets:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                process.send_signal(number)
                reached.append(process)
    return reached

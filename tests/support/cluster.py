"""The cluster under test, and helpers that run pods on it and wait for them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60
"""Seconds that a single wait may take; a real kubelet checks its pods once a second."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint: its process and its state folder."""

    process: subprocess.Popen[str]
    state: Path

    @property
    def kubeconfig(self) -> Path:
        """The file that clients connect with."""
        return self.state / "kubeconfig"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


@contextlib.contextmanager
def endpoint(state: Path, *options: str, **environment: str) -> Iterator[Endpoint]:
    """Run the endpoint on a free port inside the block."""
    command = [sys.executable, "-m", "scripts.kube", "--port", "0", "--state", str(state), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, "the endpoint did not report that it listens"
        assert "kubeconfig" in process.stdout.readline()
        try:
            yield Endpoint(process, state)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Executed:
    """The outcome of a command in a pod; `end` is its final Status, as JSON."""

    stdout: str
    stderr: str
    code: int
    end: str


@dataclass(frozen=True)
class Cluster:
    """A cluster, the tests' namespace in it, and an image that its pods can run."""

    kubeconfig: Path
    namespace: str
    image: str
    api: Any
    context: str | None = None
    kubectl_program: str = "kubectl"

    @classmethod
    def connect(cls, kubeconfig: Path, namespace: str, image: str, context: str | None = None) -> Cluster:
        """Connect to the cluster with the official client."""
        client = kubernetes.config.new_client_from_config(str(kubeconfig), context=context)
        return cls(kubeconfig, namespace, image, kubernetes.client.CoreV1Api(client), context)

    def container(self, script: str, name: str = "main", **more: Any) -> dict[str, Any]:
        """Return a container that runs a shell script."""
        command = ["sh", "-c", script]
        base = {"name": name, "image": self.image, "imagePullPolicy": "IfNotPresent", "command": command}
        return {**base, **more}

    def manifest(self, script: str = "true", *, name: str = "", **spec: Any) -> dict[str, Any]:
        """Return a pod of one such container, not restarted; `container` in `spec` adds to the container."""
        name = name or f"contract-{next(_numbers)}"
        container = self.container(script, **spec.pop("container", {}))
        metadata = {"name": name, "labels": {"name": name, **spec.pop("labels", {})}}
        rules = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**rules, **spec}}

    def create(self, script: str = "true", **spec: Any) -> str:
        """Create such a pod; return its name."""
        return str(self.create_pod(script, **spec).metadata.name)

    def create_pod(self, script: str = "true", **spec: Any) -> Any:
        """Create such a pod; return it as it was then."""
        return self.api.create_namespaced_pod(self.namespace, self.manifest(script, **spec))

    def read(self, name: str) -> Any:
        """Return the pod as it is now."""
        return self.api.read_namespaced_pod(name, self.namespace)

    def until(self, name: str, reached: Callable[[Any], object]) -> Any:
        """Return the pod once `reached` holds for it: now, or later by a watch."""
        pod = self.read(name)
        return pod if reached(pod) else self.history(pod, reached)[-1]

    def history(self, pod: Any, reached: Callable[[Any], object]) -> list[Any]:
        """Return the states of a pod after the given one, until `reached` holds."""
        seen = []
        changes = kubernetes.watch.Watch().stream(
            self.api.list_namespaced_pod,
            self.namespace,
            field_selector=f"metadata.name={pod.metadata.name}",
            resource_version=pod.metadata.resource_version,
            timeout_seconds=PATIENCE,
        )
        with contextlib.closing(changes):
            for change in changes:
                seen.append(change["object"])
                if reached(seen[-1]):
                    return seen
        states = [(seen_.status.phase, seen_.status.container_statuses) for seen_ in [pod, *seen][-1:]]
        raise AssertionError(f"{pod.metadata.name} did not get there in {PATIENCE} s: {states}")

    def until_gone(self, name: str) -> None:
        """Wait until the pod is deleted."""
        selector = {"namespace": self.namespace, "field_selector": f"metadata.name={name}"}
        snapshot = self.api.list_namespaced_pod(**selector)
        version = snapshot.metadata.resource_version
        stream = kubernetes.watch.Watch().stream
        changes = stream(
            self.api.list_namespaced_pod, **selector, resource_version=version, timeout_seconds=PATIENCE
        )
        with contextlib.closing(changes):
            if snapshot.items and not any(change["type"] == "DELETED" for change in changes):
                raise AssertionError(f"{name} was not gone in {PATIENCE} s")

    def finished(self, script: str = "true", **spec: Any) -> Any:
        """Run a pod to its end."""
        return self.until(self.create(script, **spec), ended)

    def running(self, script: str, **spec: Any) -> str:
        """Start a pod and wait until it runs; return its name."""
        name = self.create(script, **spec)
        self.until(name, runs)
        return name

    def log(self, name: str, **options: Any) -> str:
        """Return the pod's log."""
        # Read as bytes: the client's own decoding gives the repr of what it could not parse as JSON.
        read = self.api.read_namespaced_pod_log
        return str(read(name, self.namespace, _preload_content=False, **options).data.decode())

    def until_said(self, name: str) -> None:
        """Wait until the pod has written something: it may count as running before its first command."""
        read = self.api.read_namespaced_pod_log
        log = read(name, self.namespace, follow=True, _preload_content=False, _request_timeout=PATIENCE)
        with contextlib.closing(log):
            assert next(log.stream(1)), f"{name} ended without any output"

    def secret(self, **values: str) -> str:
        """Create a Secret; return its name."""
        name = f"secret-{next(_numbers)}"
        self.api.create_namespaced_secret(self.namespace, {"metadata": {"name": name}, "stringData": values})
        return name

    def exec(self, name: str, *command: str, stdin: str | None = None) -> Executed:
        """Run a command in a pod until it ends."""
        socket = kubernetes.stream.stream(
            self.api.connect_get_namespaced_pod_exec,
            name,
            self.namespace,
            command=list(command),
            stdin=stdin is not None,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(
                socket.sock.shutdown
            )  # `close` leaves the connection open once the other end closed
            if stdin is not None:
                socket.write_stdin(stdin)
            socket.run_forever(timeout=PATIENCE)
            assert not socket.is_open(), f"{command} did not end in {PATIENCE} s"
            end = socket.read_channel(3)
            causes = json.loads(end).get("details", {}).get("causes", [])
            codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
            return Executed(socket.read_stdout(), socket.read_stderr(), codes[0] if codes else 0, end)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Return what kubectl prints; raise CalledProcessError if it fails."""
        options = {"timeout": PATIENCE, "check": True, **options}
        with_errors = subprocess.run(
            self.kubectl_command(*arguments), capture_output=True, text=True, **options
        )
        return str(with_errors.stdout)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """Return the command line of kubectl for this cluster and namespace."""
        program = shutil.which(self.kubectl_program)
        if program is None and os.environ.get("CI") != "true":
            pytest.skip(f"there is no {self.kubectl_program}: install kubectl, and run make .venv/kubectl")
        assert program is not None, f"CI must have {self.kubectl_program}"
        context = ["--context", self.context] if self.context else []
        return [program, "--kubeconfig", str(self.kubeconfig), *context, "-n", self.namespace, *arguments]


def ended(pod: Any) -> bool:
    """Return whether a pod has ended."""
    return pod.status.phase in ("Succeeded", "Failed")


def runs(pod: Any) -> bool:
    """Return whether a pod runs."""
    return bool(pod.status.phase == "Running")


def state(pod: Any, container: str = "main") -> Any:
    """Return the state of one of a pod's containers: waiting, running or terminated is set in it."""
    states = [one.state for one in pod.status.container_statuses or [] if one.name == container]
    return states[0] if states else kubernetes.client.V1ContainerState()


def waits(reason: str, message: str = "") -> Callable[[Any], bool]:
    """Return whether a pod's main container waits for this reason, and with this message if one is given."""

    def is_waiting(pod: Any) -> bool:
        waiting = state(pod).waiting
        return bool(waiting and waiting.reason == reason and message in (waiting.message or ""))

    return is_waiting


def terminated(pod: Any, container: str = "main") -> Any:
    """Return how a container ended."""
    found = state(pod, container).terminated
    assert found, f"the container has not ended: {pod.status}"
    return found

"""One container of a pod: from its spec to a process, its end, and its restart."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scripts.kube import logs
from scripts.kube.environment import ConfigError, Mounts, command_of, mounted_volumes
from scripts.kube.events import Recorder
from scripts.kube.images import Image, ImageError, find_image
from scripts.kube.kinds import SECRETS
from scripts.kube.objects import Json, now
from scripts.kube.processes import Command, Process, Processes
from scripts.kube.store import Store

MESSAGE_BYTES = 4096
LOG_MESSAGE_BYTES, LOG_MESSAGE_LINES = 2048, 80
BACK_OFF_FIRST, BACK_OFF_MOST = 10.0, 300.0
STARTING_SECONDS = 0.5
"""How long a running container counts as starting: interpreters that start all at once delay each other."""


@dataclass(frozen=True)
class Node:
    """What the containers of this machine share."""

    folder: Path
    store: Store
    recorder: Recorder
    images: Mapping[str, Image]
    processes: Processes
    starting: asyncio.Semaphore
    """Limits how many containers may be starting at once."""


class Owner(Protocol):
    """The pod, as its containers see it; `stopping` is set once none of them may start any more."""

    folder: Path
    stopping: asyncio.Event

    @property
    def pod(self) -> Json:
        """The pod's object as it is now."""

    def publish(self) -> None:
        """Write the containers' states into the pod's status."""


class Container:
    """A container's life; `state`, `last_state` and `restarts` are what its status shows."""

    def __init__(self, node: Node, owner: Owner, spec: Json, *, init: bool) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.init = init
        self.folder: Path = owner.folder / "containers" / self.name
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self.restarts = 0
        self.identity = ""
        self.process: Process | None = None
        """The main process while it runs."""
        self.log: logs.Log | None = None
        self._node = node
        self._owner = owner
        self._message_file = self.folder / "termination-log"

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the container has not ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def mounts(self) -> Mounts:
        """The real paths of this container's mount paths."""
        paths = mounted_volumes(self.spec, self._owner.folder / "volumes")
        return Mounts({**paths, self.spec["terminationMessagePath"]: self._message_file})

    async def run(self) -> None:
        """Run the container until it has ended for good or its pod is stopping."""
        image = await self._find_image()
        back_off = 0.0
        while image and (command := await self._configure(image)):
            await self._run_once(command)
            if not self._is_to_restart():
                return
            await self._wait_before_restart(back_off)
            back_off = min(max(2 * back_off, BACK_OFF_FIRST), BACK_OFF_MOST)

    def kill(self) -> None:
        """End the container's processes at once."""
        if self.process:
            self.process.signal(signal.SIGKILL)

    def stop(self, grace: float) -> None:
        """Ask the container to end, and kill it `grace` seconds later."""
        if process := self.process:
            self._normal("Killing", f"Stopping container {self.name}")
            process.signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(grace, process.signal, signal.SIGKILL)

    def log_file(self, run: int) -> Path:
        """Return the file of the log of the container's nth run, counted from 0."""
        return self.folder / f"{run}.log"

    async def _find_image(self) -> Image | None:
        """Return the image; without one, wait until the pod is stopping and return None."""
        reference = self.spec["image"]
        try:
            image = find_image(self._node.images, reference, self.spec["imagePullPolicy"])
        except ImageError as problem:
            self._warning("Failed", f'Failed to pull image "{reference}": {problem}')
            self._warning("Failed", f"Error: {problem.reason}")
            self._wait(problem.reason, str(problem))
            if problem.reason == "ErrImagePull" and not await self._is_stopped_within(BACK_OFF_FIRST):
                message = f'Back-off pulling image "{reference}"'
                self._normal("BackOff", message)
                self._wait("ImagePullBackOff", message)
            await self._owner.stopping.wait()
            return None
        self._normal("Pulled", f'Container image "{reference}" already present on machine')
        return image

    async def _configure(self, image: Image) -> Command | None:
        """Return the command to run, after waiting for missing Secrets; None when the pod is stopping."""
        pod_folder, store = self._owner.folder, self._node.store
        while not self._owner.stopping.is_set():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return command_of(self._owner.pod, self.spec, image, pod_folder, self.mounts, store)
            except ConfigError as problem:
                self._warning("Failed", f"Error: {problem}")
                self._wait("CreateContainerConfigError", str(problem))
            await until_stopping(self._owner.stopping, store.next_change(SECRETS))
        return None

    async def _run_once(self, command: Command) -> None:
        async with self._node.starting:
            if self._owner.stopping.is_set():
                return
            log = self.log = logs.Log(self.log_file(self.restarts))
            process = self._start(command, log)
            if process:
                await asyncio.wait([process.exited], timeout=STARTING_SECONDS)
        if process:
            code = await process.exited
            self.process = None
            log.drain()
            started = self.state["running"]["startedAt"]
            self._terminate(code, "Error" if code else "Completed", self._termination_message(code), started)
        else:
            log.drain()
        # Closed only now: who has followed the log to its end finds the container ended.
        log.close()

    def _start(self, command: Command, log: logs.Log) -> Process | None:
        """Start the process; where that fails, the container is terminated with a start error."""
        self.identity = f"local://{uuid.uuid4().hex}"
        self._message_file.write_bytes(b"")
        self._normal("Created", f"Created container {self.name}")
        try:
            process = self._node.processes.start(command, log.writer)
        except (OSError, ValueError) as problem:
            # The word as in the spec, because a variable in it may hold a secret.
            word = (self.spec.get("command") or command.arguments)[0]
            message = f'failed to start local process: exec: "{word}": {start_problem(problem)}'
            self._warning("Failed", f"Error: {message}")
            self._terminate(128, "StartError", message, "1970-01-01T00:00:00Z")
            return None
        finally:
            log.started()
        self._normal("Started", f"Started container {self.name}")
        self.state = {"running": {"startedAt": now()}}
        self.process = process
        self._owner.publish()
        return process

    def _terminate(self, code: int, reason: str, message: str, started: str) -> None:
        ended = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        if message:
            ended["message"] = message
        self.state = {"terminated": {**ended, "containerID": self.identity}}
        self._owner.publish()

    def _termination_message(self, code: int) -> str:
        message = ""
        with suppress(OSError), self._message_file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - MESSAGE_BYTES))
            message = stream.read(MESSAGE_BYTES).decode(errors="replace")
        if code and not message and self.spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            return logs.last_lines(self.log_file(self.restarts), LOG_MESSAGE_LINES, LOG_MESSAGE_BYTES)
        return message

    def _is_to_restart(self) -> bool:
        policy = self._owner.pod["spec"]["restartPolicy"]
        if self._owner.stopping.is_set() or policy == "Never":
            return False
        return self.exit_code != 0 or (policy == "Always" and not self.init)

    async def _wait_before_restart(self, seconds: float) -> None:
        self.last_state = self.state
        if seconds:
            metadata = self._owner.pod["metadata"]
            pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            self._warning("BackOff", "Back-off restarting failed container")
            message = f"back-off {seconds:.0f}s restarting failed container={self.name} pod={pod}"
            self._wait("CrashLoopBackOff", message)
            await self._is_stopped_within(seconds)
        self.restarts += 1

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._owner.stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._owner.publish()

    @property
    def _field(self) -> str:
        return f"spec.{'initContainers' if self.init else 'containers'}{{{self.name}}}"

    def _normal(self, reason: str, message: str) -> None:
        self._node.recorder.normal(self._owner.pod, reason, message, self._field)

    def _warning(self, reason: str, message: str) -> None:
        self._node.recorder.warning(self._owner.pod, reason, message, self._field)


def start_problem(problem: OSError | ValueError) -> str:
    """Say why a process could not be started; a ValueError is a NUL character in an argument."""
    if isinstance(problem, FileNotFoundError):
        return "executable file not found in $PATH"
    return str(getattr(problem, "strerror", None) or problem)


async def until_stopping(stopping: asyncio.Event, event: asyncio.Future[None]) -> None:
    """Wait for `event` or until the pod is stopping, whichever comes first."""
    tasks: list[asyncio.Future[Any]] = [event, asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

"""One container of a pod: from its spec to a process, its end, and whatever comes after."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scripts.kube import logs, volumes
from scripts.kube.commands import command_of
from scripts.kube.environment import ConfigError, Mounts
from scripts.kube.images import Image, ImageError
from scripts.kube.kinds import SECRETS
from scripts.kube.node import Node
from scripts.kube.objects import Json, now
from scripts.kube.processes import Command, Process

MESSAGE_BYTES = 4096
LOG_MESSAGE_BYTES, LOG_MESSAGE_LINES = 2048, 80
BACK_OFF_FIRST, BACK_OFF_MOST = 10.0, 300.0


@dataclass(frozen=True)
class Live:
    """A container's process and what it was started with."""

    process: Process
    command: Command


class Owner(Protocol):
    """The pod, as its containers see it."""

    folder: Path
    stopping: asyncio.Event

    @property
    def pod(self) -> Json:
        """The pod's object as it is now."""

    def publish(self) -> None:
        """Tells the world the containers' states."""


class Container:
    """A container's life; `state`, `last_state`, `restarts` are what its status shows."""

    def __init__(self, node: Node, owner: Owner, spec: Json, *, init: bool) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.init = init
        self.folder: Path = owner.folder / "containers" / self.name
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self.restarts = 0
        self.identity = ""
        self.live: Live | None = None
        self.log: logs.Log | None = None
        self._stdin: int | None = None
        self._node = node
        self._store = node.store
        self._owner = owner

    @property
    def exit_code(self) -> int | None:
        """The code it ended with, None while it has not."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def mounts(self) -> Mounts:
        """How this container's paths read on this machine."""
        folders = volumes.mounted(self.spec, self._owner.folder / "volumes")
        folders[self.spec["terminationMessagePath"]] = self._message_file
        return Mounts(folders)

    async def run(self) -> None:
        """Runs the container until it is over for good or its pod is stopping."""
        image = await self._find_image()
        back_off = 0.0
        while image and (command := await self._configure(image)):
            await self._run_once(command)
            if not self._runs_again():
                return
            await self._wait_before_restart(back_off)
            back_off = min(max(2 * back_off, BACK_OFF_FIRST), BACK_OFF_MOST)

    def take_stdin(self) -> int | None:
        """Return a descriptor that writes to the container's stdin, for the caller to close.

        None where the container has no stdin, or has `stdinOnce` and its only descriptor is already taken.
        """
        if self._stdin is None:
            return None
        descriptor = os.dup(self._stdin)
        if self.spec.get("stdinOnce"):
            self._close_stdin()
        return descriptor

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def kill(self, number: int) -> None:
        """Sends a signal to the container's processes."""
        if self.live:
            self.live.process.signal(number)

    def stop(self, grace: float) -> None:
        """Asks the container to end, and kills it `grace` seconds later."""
        if self.live:
            process = self.live.process
            self._tell("Killing", f"Stopping container {self.name}")
            process.signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(grace, process.signal, signal.SIGKILL)

    async def _find_image(self) -> Image | None:
        reference = self.spec["image"]
        try:
            image = self._node.images.find(reference, self.spec["imagePullPolicy"])
        except ImageError as problem:
            await self._wait_without_image(problem)
            return None
        self._tell("Pulled", f'Container image "{reference}" already present on machine')
        return image

    async def _wait_without_image(self, problem: ImageError) -> None:
        text = str(problem)
        self._warn("Failed", f'Failed to pull image "{self.spec["image"]}": {text}')
        self._warn("Failed", f"Error: {problem.reason}")
        self._wait(problem.reason, text)
        if problem.reason == "ErrImagePull" and not await self._stopped_within(BACK_OFF_FIRST):
            told = f'Back-off pulling image "{self.spec["image"]}"'
            self._tell("BackOff", told)
            self._wait("ImagePullBackOff", told)
        await self._owner.stopping.wait()

    async def _configure(self, image: Image) -> Command | None:
        """The command to run; waits for missing secrets; None when the pod is stopping."""
        while not self._owner.stopping.is_set():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return command_of(
                    self._owner.pod, self.spec, image, self._owner.folder, self.mounts, self._store
                )
            except ConfigError as problem:
                self._warn("Failed", f"Error: {problem}")
                self._wait("CreateContainerConfigError", str(problem))
            await until_stopping(self._owner.stopping, self._store.next_change(SECRETS))
        return None

    async def _run_once(self, command: Command) -> None:
        await self._node.slots.take()
        process = None
        try:
            if not self._owner.stopping.is_set():
                process = self._start(command)
        finally:
            self._node.slots.give_back(process)
        if process and self.log:
            code = await process.exited
            self.live = None
            self.log.drain()
            self._ended(code)
            # Closed only now, so that who followed the log to its end finds the container ended.
            self.log.close()

    def _start(self, command: Command) -> Process | None:
        self.identity = f"local://{uuid.uuid4().hex}"
        self._message_file.write_bytes(b"")
        self.log = logs.Log(self.log_file(self.restarts))
        self._tell("Created", f"Created container {self.name}")
        stdin = subprocess.DEVNULL
        if self.spec.get("stdin"):
            stdin, self._stdin = os.pipe()
        try:
            streams = {"stdin": stdin, "stdout": self.log.writer, "stderr": self.log.writer}
            process = self._node.processes.start(command, **streams)
        except (OSError, ValueError) as problem:  # ValueError: a word has a NUL character in it
            self._cannot_start(command, problem)
            return None
        finally:
            self.log.started()
            if stdin != subprocess.DEVNULL:
                os.close(stdin)
        self._tell("Started", f"Started container {self.name}")
        self.state = {"running": {"startedAt": now()}}
        self.live = Live(process, command)
        self._owner.publish()
        return process

    def _cannot_start(self, command: Command, problem: OSError | ValueError) -> None:
        why = getattr(problem, "strerror", None) or str(problem)
        if isinstance(problem, FileNotFoundError):
            why = "executable file not found in $PATH"
        # The word as the spec has it: a variable in it may hold a secret.
        word = (self.spec.get("command") or command.arguments)[0]
        message = f'failed to start local process: exec: "{word}": {why}'
        self._warn("Failed", f"Error: {message}")
        self._terminate(128, "StartError", message, "1970-01-01T00:00:00Z")
        if self.log:
            self.log.drain()
            self.log.close()

    def _ended(self, code: int) -> None:
        message = self._termination_message(code)
        reason = "Error" if code else "Completed"
        self._terminate(code, reason, message, self.state["running"]["startedAt"])

    def _terminate(self, code: int, reason: str, message: str, started: str) -> None:
        self._close_stdin()
        ended = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        if message:
            ended["message"] = message
        self.state = {"terminated": {**ended, "containerID": self.identity}}
        self._owner.publish()

    def _termination_message(self, code: int) -> str:
        try:
            with self._message_file.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - MESSAGE_BYTES))
                message = stream.read(MESSAGE_BYTES).decode(errors="replace")
        except OSError:
            message = ""
        if code and not message and self.spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            file = self.log_file(self.restarts)
            return logs.last_lines(file, LOG_MESSAGE_LINES, LOG_MESSAGE_BYTES)
        return message

    def _runs_again(self) -> bool:
        if self._owner.stopping.is_set():
            return False
        policy = self._owner.pod["spec"]["restartPolicy"]
        if policy == "Never":
            return False
        return self.exit_code != 0 or (policy == "Always" and not self.init)

    async def _wait_before_restart(self, seconds: float) -> None:
        self.last_state = self.state
        if seconds:
            metadata = self._owner.pod["metadata"]
            pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            self._warn("BackOff", "Back-off restarting failed container")
            told = f"back-off {seconds:.0f}s restarting failed container={self.name} pod={pod}"
            self._wait("CrashLoopBackOff", told)
            await self._stopped_within(seconds)
        self.restarts += 1

    def log_file(self, run: int) -> Path:
        """The log of the container's nth run, counted from 0."""
        return self.folder / f"{run}.log"

    @property
    def _message_file(self) -> Path:
        return self.folder / "termination-log"

    async def _stopped_within(self, seconds: float) -> bool:
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

    def _tell(self, reason: str, message: str) -> None:
        self._node.recorder.normal(self._owner.pod, reason, message, self._field)

    def _warn(self, reason: str, message: str) -> None:
        self._node.recorder.warning(self._owner.pod, reason, message, self._field)


async def until_stopping(stopping: asyncio.Event, event: asyncio.Future[None]) -> None:
    """Wait for something to happen or for the pod to be stopped, whichever comes first."""
    tasks: list[asyncio.Future[Any]] = [event, asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

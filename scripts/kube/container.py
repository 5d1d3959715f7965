"""One container of a pod: from its spec to a process, its end, and its restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scripts.kube import logs
from scripts.kube.environment import Command, ConfigError, Image, Mounts, command_of, find_image
from scripts.kube.objects import SECRETS, Json, now
from scripts.kube.processes import Process, Processes
from scripts.kube.store import Recorder, Store

_MESSAGE_BYTES = 4096
_LOG_MESSAGE_BYTES, _LOG_MESSAGE_LINES = 2048, 80
_BACK_OFF_SECONDS = 10
"""How long a container waits before its second restart and every later one; the first is immediate."""
_STARTING_SECONDS = 0.5
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

    pod: Json
    folder: Path
    stopping: asyncio.Event

    def publish(self) -> None:
        """Write the containers' states into the pod's status."""


class Container:
    """A container's life; `state` and `last_state` are as in its status, `process` is set while it runs."""

    def __init__(self, node: Node, owner: Owner, spec: Json, *, init: bool) -> None:
        self.name: str = spec["name"]
        self.init = init
        self.exec_folder: Path = owner.folder / f"{self.name}.exec"
        """A folder for the processes that are exec'd beside the container; it may not exist."""
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Json = {}
        self.process: Process | None = None
        self.log: logs.Log | None = None
        # Files of the pod's own folder: with thousands of pods, a folder per container would cost much.
        self._message_file = owner.folder / f"{self.name}.message"
        paths = {spec["terminationMessagePath"]: self._message_file}
        for mount in spec.get("volumeMounts") or []:
            paths[mount["mountPath"]] = owner.folder / "volumes" / mount["name"] / mount.get("subPath", "")
        self.mounts = Mounts(paths)
        self._spec = spec
        self._restarts = 0
        self._node = node
        self._owner = owner
        self._field = f"spec.{'initContainers' if init else 'containers'}{{{self.name}}}"

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the container has not ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def status(self) -> Json:
        """The container's part of its pod's status."""
        return {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": "running" in self.state or (self.init and self.exit_code == 0),
            "restartCount": self._restarts,
            "image": self._spec["image"],
            "imageID": f"local://{self._spec['image']}",
        }

    async def run(self) -> None:
        """Run the container until it has ended for good or its pod is stopping."""
        while command := await self._configure():
            await self._run_once(command)
            if self._owner.stopping.is_set() or not self._is_to_restart():
                return
            await self._wait_before_restart()

    def stop(self, grace: float) -> None:
        """Ask the container to end, and kill it `grace` seconds later; at once if that is 0."""
        if process := self.process:
            self._normal("Killing", f"Stopping container {self.name}")
            process.signal(signal.SIGTERM if grace else signal.SIGKILL)
            asyncio.get_running_loop().call_later(grace, process.signal, signal.SIGKILL)

    async def _configure(self) -> Command | None:
        """Return the command to run, after waiting for missing Secrets; None when the pod is stopping."""
        owner, spec, store = self._owner, self._spec, self._node.store
        while not owner.stopping.is_set():
            try:
                image = find_image(self._node.images, spec["image"], spec["imagePullPolicy"])
                command = command_of(owner.pod, spec, image, owner.folder, self.mounts, store)
            except ConfigError as problem:
                self._warning("Failed", f"Error: {problem}")
                self._wait(problem.reason, str(problem))
                if problem.reason == "ErrImagePull":
                    await until_stopping(owner.stopping, seconds=_BACK_OFF_SECONDS)
                    self._wait("ImagePullBackOff", f'Back-off pulling image "{spec["image"]}"')
            else:
                self._normal("Pulled", f'Container image "{spec["image"]}" already present on machine')
                return command
            await until_stopping(owner.stopping, store.next_change(SECRETS))
        return None

    async def _run_once(self, command: Command) -> None:
        async with self._node.starting:
            if self._owner.stopping.is_set():
                return
            log = self.log = logs.Log(logs.log_file(self._owner.folder, self.name, self._restarts))
            self.process = self._start(command, log)
            if self.process:
                await asyncio.wait([self.process.exited], timeout=_STARTING_SECONDS)
        code = await self.process.exited if self.process else None
        self.process = None
        log.drain()
        if code is not None:
            self._terminate(code, "Error" if code else "Completed", self._termination_message(code, log))
        # Closed only now: who has followed the log to its end finds the container ended.
        log.close()

    def _start(self, command: Command, log: logs.Log) -> Process | None:
        """Start the process; where that fails, the container is terminated with a start error."""
        self._message_file.write_bytes(b"")
        self._normal("Created", f"Created container {self.name}")
        try:
            process = self._node.processes.start(command, log.writer, log.writer)
        except (OSError, ValueError) as problem:
            # The word as in the spec, because a variable in it may hold a secret.
            word = (self._spec.get("command") or command.arguments)[0]
            message = f'failed to start local process: exec: "{word}": {start_problem(problem)}'
            self._warning("Failed", f"Error: {message}")
            self._terminate(128, "StartError", message)
            return None
        finally:
            log.started()
        self._normal("Started", f"Started container {self.name}")
        self.state = {"running": {"startedAt": now()}}
        self._owner.publish()
        return process

    def _terminate(self, code: int, reason: str, message: str) -> None:
        started = self.state.get("running", {}).get("startedAt", now())
        end = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        self.state = {"terminated": {**end, "message": message} if message else end}
        self._owner.publish()

    def _termination_message(self, code: int, log: logs.Log) -> str:
        message = ""
        with suppress(OSError):  # the container may have removed its file
            message = self._message_file.read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace")
        if code and not message and self._spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            return logs.last_lines(log.file, _LOG_MESSAGE_LINES, _LOG_MESSAGE_BYTES)
        return message

    def _is_to_restart(self) -> bool:
        policy = self._owner.pod["spec"]["restartPolicy"]
        return policy != "Never" and (self.exit_code != 0 or (policy == "Always" and not self.init))

    async def _wait_before_restart(self) -> None:
        self.last_state = self.state
        if self._restarts:
            self._warning("BackOff", "Back-off restarting failed container")
            message = f"back-off {_BACK_OFF_SECONDS}s restarting failed container={self.name}"
            self._wait("CrashLoopBackOff", message)
            await until_stopping(self._owner.stopping, seconds=_BACK_OFF_SECONDS)
        self._restarts += 1

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._owner.publish()

    def _normal(self, reason: str, message: str) -> None:
        self._node.recorder.normal(self._owner.pod, reason, message, self._field)

    def _warning(self, reason: str, message: str) -> None:
        self._node.recorder.warning(self._owner.pod, reason, message, self._field)


def start_problem(problem: OSError | ValueError) -> str:
    """Say why a process could not be started; a ValueError is a NUL character in an argument."""
    if isinstance(problem, FileNotFoundError):
        return "executable file not found in $PATH"
    return str(getattr(problem, "strerror", None) or problem)


async def until_stopping(
    stopping: asyncio.Event, *events: asyncio.Future[None], seconds: float | None = None
) -> None:
    """Wait until the pod is stopping, an event is done, or the seconds are over."""
    waiting: list[asyncio.Future[Any]] = [*events, asyncio.ensure_future(stopping.wait())]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()

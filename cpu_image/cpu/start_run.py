"""A start run in Redis: its program, stored once, and the account of its CPUs' stops."""

import hashlib
from dataclasses import dataclass
from typing import Any

from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.program import Instruction, Program
from cpu.records import FACT_FIELDS, Facts, Stop, cpus_of, decode_instruction, encode_instruction, seconds_of
from cpu.redis_client import Client
from cpu.redis_scripts import CANCEL, STOP, STORE
from cpu.result import Status

STOP_SECONDS = 15
"""Within how many seconds a CPU's stop follows its last commit; its registers expire that much earlier."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts to solve ("1", "2" or "12"), whether the first answer leaves other CPUs running, and how many
    cycles a pod executes.
    """

    parts: str = "12"
    keep_going: bool = False
    cycles: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """The facts of a start run, and as many of its instructions as were read, from one address on."""

    facts: Facts
    address: int
    items: list[bytes]

    def instruction(self, address: int) -> Instruction:
        """Return the instruction at an address. Raises IndexError if it was not read."""
        if address < self.address:
            raise IndexError(address)
        return decode_instruction(self.items[address - self.address])


@dataclass(frozen=True, slots=True)
class Whole:
    """The facts of a start run, the numbers of its CPUs, and the stop of each that has stopped."""

    facts: Facts
    cpus: list[int]
    stops: dict[int, Stop]


@dataclass(frozen=True, slots=True)
class Survey:
    """The cycles per pod, the CPUs of a start run, and the verdict of each that has stopped, "" for none."""

    cycles: int
    cpus: list[int]
    verdicts: dict[int, str]


class StartRun:
    """One start run, as the CPU of `keys` sees it.

    Each method raises PreconditionError if the start run is not stored or has expired, and LostError if Redis
    has lost a part of it.
    """

    def __init__(self, client: Client, keys: Keys, ttl: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl

    def store(self, program: Program, settings: Settings) -> None:
        """Store the program and its settings; storing the same again changes nothing.

        Raises PreconditionError if another program or other settings are stored.
        """
        items = [encode_instruction(instruction) for instruction in program.instructions]
        digest = hashlib.sha256("\n".join([repr(settings), *items]).encode()).hexdigest()
        candidates = sum(1 for _ in program.candidates())
        args: list[str | int] = [self._ttl, digest, len(items), candidates]
        args += [settings.parts, int(settings.keep_going), settings.cycles, *items]
        stored = self._client.register_script(STORE)(keys=self._keys.of_start, args=args)
        if stored is None:
            raise self._missing()
        if not stored:
            raise PreconditionError(
                f"start run {self._keys.start} holds another program or other settings:"
                " choose another name for this one"
            )

    def read(self, address: int, last: int) -> View:
        """Return the facts, and the instructions from `address` to `last`, -1 for the program's end."""
        pipeline = self._pipeline()
        pipeline.lrange(self._keys.program, address, last)
        self._refresh(pipeline)
        *counted, items, _, _, _ = pipeline.execute()
        return View(self._facts(*counted), address, items)

    def stop(self, status: Status, candidate: bool) -> tuple[str, bool]:
        """Record the CPU's stop, once. Return its verdict, "" for none, and whether it ends the start run.

        One stop ends it: the one with which all parts are answered, or all CPUs have stopped.
        """
        stop = self._client.register_script(STOP)
        args = [self._ttl, self._keys.cpu, int(candidate), int(candidate and status is Status.END)]
        recorded = stop(keys=self._keys.of_start, args=args)
        if recorded is None:
            raise self._missing()
        entry, ends = recorded
        return Stop.decode(entry).verdict, bool(ends)

    def cancel(self) -> None:
        """Make all CPUs stop at their next cycle."""
        if not self._client.register_script(CANCEL)(keys=self._keys.of_start[:1]):
            raise self._missing()

    def account(self) -> dict[str, Any]:
        """Return the account as `read` gives it (see cpu.result), with the verdict if the CPU has one."""
        pipeline = self._pipeline()
        pipeline.hget(self._keys.stops, str(self._keys.cpu))
        self._refresh(pipeline)
        *counted, stopped, _, _, _ = pipeline.execute()
        facts = self._facts(*counted)
        stop = Stop.decode(stopped) if stopped else Stop("", self._now())
        return {
            **({"verdict": stop.verdict} if stop.verdict else {}),
            "seconds": round(stop.time - facts.stored, 3),
            "cpus": facts.candidates,
            "stopped": facts.stopped,
            "ended": facts.ended,
        }

    def survey(self) -> Survey | None:
        """Return the CPUs and their verdicts; None if the start run is cancelled, or not stored any more.

        A verdict as old as the TTL counts as none: Airflow may have forgotten that it was posted.
        Read-only: never refreshes a TTL.
        """
        values, instructions, stopped, items = self._read_facts_and_program()
        cancelled = values[FACT_FIELDS.index("cancelled")]
        if cancelled or not any((*values, instructions, stopped)):
            return None
        whole, now = self._whole(values, instructions, stopped, items), self._now()
        verdicts = {
            cpu: stop.verdict if now - stop.time < self._ttl - STOP_SECONDS else ""
            for cpu, stop in whole.stops.items()
        }
        return Survey(whole.facts.cycles, whole.cpus, verdicts)

    def whole(self) -> Whole:
        """Return the facts, the CPUs and their stops. Read-only: never refreshes a TTL."""
        return self._whole(*self._read_facts_and_program())

    def _read_facts_and_program(self) -> Any:
        pipeline = self._pipeline()
        pipeline.lrange(self._keys.program, 0, -1)
        return pipeline.execute()

    def _whole(
        self, values: list[bytes | None], instructions: int, stopped: int, items: list[bytes]
    ) -> Whole:
        """Decode what was read, and read the stops: of CPUs that have stopped since then, too."""
        facts = self._facts(values, instructions, stopped)
        cpus = cpus_of(facts.parts, map(decode_instruction, items))
        stops: Any = self._client.hgetall(self._keys.stops)
        return Whole(facts, cpus, {int(cpu): Stop.decode(stop) for cpu, stop in stops.items()})

    def _pipeline(self) -> Any:
        """Begin a transaction with the reads that `_facts` takes."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hmget(self._keys.facts, *FACT_FIELDS)
        pipeline.llen(self._keys.program)
        pipeline.hlen(self._keys.stops)
        return pipeline

    def _refresh(self, pipeline: Any) -> None:
        for key in self._keys.of_start:
            pipeline.expire(key, self._ttl)

    def _facts(self, values: list[bytes | None], instructions: int, stops: int) -> Facts:
        if not any((*values, instructions, stops)):
            raise self._not_stored()
        return Facts.decode(self._keys.start, values, instructions, stops)

    def _missing(self) -> PreconditionError:
        """Return the error for a script that has found no whole start run."""
        try:
            self._facts(*self._pipeline().execute())
        except PreconditionError as error:
            return error
        return self._not_stored()

    def _now(self) -> float:
        return seconds_of(self._client.time())

    def _not_stored(self) -> PreconditionError:
        return PreconditionError(
            f"start run {self._keys.start} is not stored, or has expired: store it first"
        )

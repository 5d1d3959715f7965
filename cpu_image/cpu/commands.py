"""The commands on Redis: store, load, exec, read, answers, cancel and survey."""

from dataclasses import dataclass

from cpu import machine, preflight
from cpu.errors import PreconditionError
from cpu.keys import Keys
from cpu.program import Program
from cpu.records import CPU_FIELDS, CpuRecord
from cpu.redis_client import Client
from cpu.redis_cpu import RedisCpu, RedisMemory
from cpu.reference import FACTS
from cpu.result import Result, Status, swap_of
from cpu.start_run import Settings, StartRun

MAX_LOST = 20
"""How many CPUs with lost registers the result of `answers` names."""
SURVEY_SIZE = 150
"""How many CPUs one survey reports: each takes up to 20 of a result's 4,096 bytes."""


@dataclass
class Commands:
    """The commands on one start run, whose unused keys expire after `ttl` seconds.

    Each returns a result (see cpu.result). Each may be repeated at any time, also after a crash at any point,
    and then returns the same result.
    """

    client: Client
    start: str
    ttl: int

    def store(self, program: Program, settings: Settings) -> Result:
        """Store the program and its settings.

        Raises PreconditionError if Redis may evict what is stored, if it is a cluster and the URL is not one
        for clusters, or if the start run holds something else.
        """
        warning = preflight.check(self.client)
        self._start_run().store(program, settings)
        candidates = sum(1 << cpu for cpu in program.candidates())
        return {
            "status": "stored",
            "start": self.start,
            "instructions": len(program),
            "candidates": hex(candidates),
            **({"warning": warning} if warning else {}),
        }

    def load(self, cpu: int, *, once: bool = False) -> Result:
        """Create a CPU at cycle 0, with `once` only if it does not exist.

        Its status is `invalid` if `cpu` is neither 0 nor the number of a candidate.
        """
        run = self._start_run(cpu)
        address = max(cpu - 1, 0)
        view = run.read(address, address)
        swap = swap_of(view.instruction(address)) if 1 <= cpu <= view.facts.length else None
        status = Status.OK if swap or cpu == 0 else Status.INVALID
        result = {
            "status": status,
            "start": self.start,
            "cpu": cpu,
            "cycle": 0,
            "pc": "0",
            "acc": "0",
            "swap": swap,
        }
        self._cpu(cpu).load(result, once=once)
        return _with_verdict(run, result)

    def execute(self, cpu: int, first: int, cycles: int = 1) -> Result:
        """Execute `cycles` cycles from `first` on, fewer if the CPU stops, and commit them in one step.

        If the last exec began with the same cycle, nothing is executed and its result is returned.
        Raises PreconditionError if `first` is any other cycle than the next one.
        """
        run, redis_cpu = self._start_run(cpu), self._cpu(cpu)
        state = redis_cpu.read()
        if state.record.first == first:
            return _with_verdict(run, state.result)
        if state.record.status is not Status.OK or state.record.registers.cycle != first - 1:
            raise _wrong_cycle(cpu, first, state.record)

        pc = state.record.registers.pc
        view = run.read(pc, pc) if cycles == 1 else run.read(0, -1)
        memory = RedisMemory(cpu, state, view)
        if view.facts.must_stop(cpu):
            status, instruction = Status.STOPPED, None
        else:
            outcome = machine.run(memory, cycles)
            status, instruction = outcome.status, outcome.instruction
        result = {
            "status": status,
            "start": self.start,
            "cpu": cpu,
            "first": first,
            "cycle": memory.registers.cycle,
            "instruction": str(instruction) if instruction else None,
            "line": instruction.line if instruction else None,
            "pc": str(memory.registers.pc),
            "acc": str(memory.registers.acc),
            "swap": state.result["swap"],
        }
        kept = redis_cpu.commit(first, memory, result)
        if kept is None:
            raise _wrong_cycle(cpu, first, redis_cpu.read().record)
        return _with_verdict(run, kept)

    def read(self, cpu: int) -> Result:
        """Return the CPU's last result, and the account of its start run."""
        return {**self._cpu(cpu).read().result, **self._start_run(cpu).account()}

    def answers(self) -> Result:
        """Return the answers of the start run, and whether it can still come to those that are missing.

        Read-only for the start run: never refreshes its TTL.
        """
        whole = self._start_run().whole()
        facts, stops = whole.facts, whole.stops
        part1 = stops[0].verdict if 0 in stops else ""
        running = [cpu for cpu in whole.cpus if cpu not in stops]
        lost: list[int] = []
        if facts.is_answered(part1):
            status = "answered"
        elif facts.cancelled:
            status = "cancelled"
        else:
            lost = self._lost_cpus(running)
            status = "lost" if lost and lost == running else "running"
        found: Result = {"part1": self._answer_of(0)} if part1 == "part1" else {}
        if "2" in facts.parts and facts.answer is not None:
            found["part2"] = self._answer_of(facts.answer)
        elif "2" in facts.parts and facts.stopped == facts.candidates:
            found["part2"] = None
        return {
            "status": status,
            "start": self.start,
            "parts": [int(part) for part in facts.parts],
            "instructions": facts.length,
            "cpus": len(whole.cpus),
            "stopped": len(stops),
            "ended": facts.ended,
            **({"lost": lost[:MAX_LOST]} if lost else {}),
            **found,
        }

    def cancel(self) -> Result:
        """Make all CPUs stop at their next cycle, without a verdict."""
        self._start_run().cancel()
        return {"status": "cancelled", "start": self.start}

    def survey(self, cpu: int = 0) -> Result:
        """Return which cycle of each CPU is due, and which CPUs give an answer.

        It begins with CPU number `cpu` and covers as many CPUs as a result has room for.
        Read-only: never refreshes a TTL.
        """
        found = self._start_run().survey()
        if found is None:
            return {"status": "over", "start": self.start, "due": [], "answers": [], "more": None}
        is_running = any(one not in found.verdicts for one in found.cpus)
        # CPUs that have stopped without an answer are left out.
        reported = [one for one in found.cpus if one >= cpu and found.verdicts.get(one) != ""]
        page, more = reported[:SURVEY_SIZE], reported[SURVEY_SIZE:]
        pipeline = self.client.pipeline(transaction=False)
        for one in page:
            pipeline.hmget(Keys(self.start, one).registers, *CPU_FIELDS)
        due, answers, lost = [], [], []
        for one, fields in zip(page, pipeline.execute(), strict=True):
            record = CpuRecord.decode(fields)
            if record is None and (any(fields) or one in found.verdicts):
                lost.append(one)
            elif record is None:
                due.append([one, 0, 0])  # to be loaded
            elif one in found.verdicts:
                answers.append([one, record.first])
            elif record.status is Status.OK:
                due.append([one, record.first, record.registers.cycle + 1])
            else:  # the pod that executed the last cycle did not record the stop: that cycle is due again
                due.append([one, record.first, record.first])
        return {
            **({"lost": lost} if lost else {}),
            "status": "running" if is_running else "over",
            "start": self.start,
            "cycles": found.cycles,
            "due": due,
            "answers": answers,
            "more": more[0] if more else None,
        }

    def _answer_of(self, cpu: int) -> Result:
        """Return the facts of a CPU that gives an answer."""
        kept = self._cpu(cpu).read().result
        return {name: kept.get(name) for name in FACTS}

    def _lost_cpus(self, cpus: list[int]) -> list[int]:
        """Return those of these CPUs of which Redis has lost registers."""
        pipeline = self.client.pipeline(transaction=False)
        for cpu in cpus:
            pipeline.hmget(Keys(self.start, cpu).registers, *CPU_FIELDS)
        found = zip(cpus, pipeline.execute(), strict=True)
        return [cpu for cpu, fields in found if any(fields) and CpuRecord.decode(fields) is None]

    def _start_run(self, cpu: int = 0) -> StartRun:
        return StartRun(self.client, Keys(self.start, cpu), self.ttl)

    def _cpu(self, cpu: int) -> RedisCpu:
        return RedisCpu(self.client, Keys(self.start, cpu), self.ttl)


def _with_verdict(run: StartRun, result: Result) -> Result:
    """If the CPU has stopped, record its stop, which may be repeated, and add what follows from it: the CPU's
    verdict, and whether the start run is over.
    """
    status = Status(result["status"])
    if status is Status.OK:
        return result
    verdict, is_over = run.stop(status, candidate=result["swap"] is not None)
    return {**result, **({"verdict": verdict} if verdict else {}), **({"over": True} if is_over else {})}


def _wrong_cycle(cpu: int, first: int, record: CpuRecord) -> PreconditionError:
    cycle = record.registers.cycle
    if record.status is not Status.OK:
        return PreconditionError(
            f"CPU {cpu} has stopped ({record.status}) after cycle {cycle}: it has no cycle {first} to execute"
        )
    if first <= cycle:
        repeatable = f"only the last exec can be repeated, which began with cycle {record.first}"
        return PreconditionError(f"cycle {first} of CPU {cpu} is past: {repeatable}")
    return PreconditionError(f"CPU {cpu} has not come to cycle {first}: its next cycle is {cycle + 1}")

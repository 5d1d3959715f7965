"""What the pods do: store, load, exec, read, cancel and survey; each a function from Redis to a result.

Each may be run again at any time, after a crash at any point, and gives the same answer.
"""

from cpu import machine, preflight
from cpu.errors import RefusedError
from cpu.keys import Keys
from cpu.program import Program
from cpu.records import CPU_FIELDS, CpuRecord
from cpu.redis_client import Client
from cpu.redis_cpu import RedisCpu, RedisMemory
from cpu.result import Result, Status
from cpu.start_run import Settings, StartRun, View

SURVEYED = 150
"""How many CPUs one survey tells of: each takes up to 20 of a result's 4,096 bytes."""


def store(client: Client, start: str, program: Program, settings: Settings, ttl: int) -> Result:
    """Keep the program for the CPUs of a start run; bit N of `candidates` says that CPU N has a swap.

    Raises RefusedError where Redis may lose what it keeps, or is another kind than the address says.
    """
    warning = preflight.check(client)
    StartRun(client, Keys(start), ttl).store(program, settings)
    candidates = sum(1 << cpu for cpu in program.candidates())
    stored = {"status": "stored", "start": start, "instructions": len(program), "candidates": hex(candidates)}
    return {**stored, "warning": warning} if warning else stored


def load(client: Client, start: str, cpu: int, *, once: bool, ttl: int) -> Result:
    """Make a CPU, at cycle 0; `invalid` where its number names no instruction with a swap."""
    keys = Keys(start, cpu)
    run = StartRun(client, keys, ttl)
    address = max(cpu - 1, 0)
    swap = _swap(run.read(address, address), cpu)
    status = Status.OK if swap or cpu == 0 else Status.INVALID
    result = {"status": status, "start": start, "cpu": cpu, "cycle": 0, "pc": "0", "acc": "0", "swap": swap}
    RedisCpu(client, keys, ttl).load(result, once=once)
    return _with_verdict(run, result)


def execute(client: Client, start: str, cpu: int, first: int, cycles: int, ttl: int) -> Result:
    """Execute cycles `first` to `first + cycles - 1`, fewer where the CPU stops before, in one atomic step.

    Asked again for the same `first`: the kept result. Raises RefusedError for any other cycle but the next.
    """
    keys = Keys(start, cpu)
    run, redis_cpu = StartRun(client, keys, ttl), RedisCpu(client, keys, ttl)
    state = redis_cpu.read()
    if state.record.first == first:
        return _with_verdict(run, state.result)
    if state.record.status is not Status.OK or state.record.registers.cycle != first - 1:
        raise _refusal(cpu, first, state.record)

    pc = state.record.registers.pc
    view = run.read(pc, pc) if cycles == 1 else run.read(0, -1)
    memory = RedisMemory(cpu, state, view)
    progress = (
        _told_to_stop(memory) if view.facts.must_stop(cpu) else _progress(memory, machine.run(memory, cycles))
    )
    result = {"status": progress.pop("status"), "start": start, "cpu": cpu, "first": first, **progress}
    result["swap"] = state.result["swap"]
    kept = redis_cpu.commit(first, memory, result)
    if kept is None:
        raise _refusal(cpu, first, redis_cpu.read().record)
    return _with_verdict(run, kept)


def read(client: Client, start: str, cpu: int, ttl: int) -> Result:
    """The CPU's last result, and the account of its start run."""
    keys = Keys(start, cpu)
    state = RedisCpu(client, keys, ttl).read()
    return {**state.result, **StartRun(client, keys, ttl).account()}


def cancel(client: Client, start: str, ttl: int) -> Result:
    """Have all CPUs of a start run stop at their next cycle, and tell nothing."""
    StartRun(client, Keys(start), ttl).cancel()
    return {"status": "cancelled", "start": start}


def survey(client: Client, start: str, cpu: int, ttl: int) -> Result:
    """Return which cycle of each CPU is due, and which CPUs give an answer (see cpu.result).

    It begins with CPU number `cpu` and covers as many CPUs as a result has room for.
    Read-only: never refreshes a TTL.
    """
    found = StartRun(client, Keys(start), ttl).survey()
    if found is None:
        return {"status": "over", "start": start, "due": [], "answers": [], "more": None}
    running = any(one not in found.verdicts for one in found.cpus)
    watched = [one for one in found.cpus if one >= cpu and found.verdicts.get(one) != ""]
    page, more = watched[:SURVEYED], watched[SURVEYED:]
    pipeline = client.pipeline(transaction=False)
    for one in page:
        pipeline.hmget(Keys(start, one).registers, *CPU_FIELDS)
    records, lost = {}, []
    for one, fields in zip(page, pipeline.execute(), strict=True):
        records[one] = CpuRecord.decode(fields)
        # A CPU that is not loaded has none of the fields, and no stop.
        if records[one] is None and (any(fields) or one in found.verdicts):
            lost.append(one)
            del records[one]
    return {
        **({"lost": lost} if lost else {}),
        "status": "running" if running else "over",
        "start": start,
        "cycles": found.cycles,
        "due": [[one, *_due(record)] for one, record in records.items() if one not in found.verdicts],
        "answers": [
            [one, record.first] for one, record in records.items() if record and one in found.verdicts
        ],
        "more": more[0] if more else None,
    }


def _due(record: CpuRecord | None) -> tuple[int, int]:
    """Return the cycle that the CPU's latest pod was asked for, and the cycle that is due."""
    if record is None:
        return 0, 0  # load is due
    # If the CPU has stopped, the same cycle is due again: the pod that executed it did not record the stop.
    is_next = record.status is Status.OK
    return record.first, record.registers.cycle + 1 if is_next else record.first


def _swap(view: View, cpu: int) -> Result | None:
    before = view.instruction(cpu - 1) if 1 <= cpu <= view.facts.length else None
    after = before.swapped() if before else None
    return {"line": before.line, "before": str(before), "after": str(after)} if before and after else None


def _progress(memory: RedisMemory, outcome: machine.Outcome) -> Result:
    pc, acc, cycle = memory.registers
    instruction = outcome.instruction
    executed = {"cycle": cycle, "instruction": str(instruction), "line": instruction.line}
    return {"status": outcome.status, **executed, "pc": str(pc), "acc": str(acc)}


def _told_to_stop(memory: RedisMemory) -> Result:
    pc, acc, cycle = memory.registers
    stopped = {"status": Status.STOPPED, "cycle": cycle, "instruction": None, "line": None}
    return {**stopped, "pc": str(pc), "acc": str(acc)}


def _with_verdict(run: StartRun, result: Result) -> Result:
    """The result of a CPU that has stopped, entered into the account; this is safe to do again."""
    status = Status(result["status"])
    if status is Status.OK:
        return result
    verdict = run.stop(status, candidate=result["swap"] is not None)
    return {**result, "verdict": verdict} if verdict else result


def _refusal(cpu: int, first: int, record: CpuRecord) -> RefusedError:
    cycle = record.registers.cycle
    if record.status is not Status.OK:
        stopped = f"CPU {cpu} has stopped ({record.status}) after cycle {cycle}"
        return RefusedError(f"{stopped}: it takes no cycle {first}")
    if first <= cycle:
        again = f"of the past only the last exec can be asked for again, by its cycle {record.first}"
        return RefusedError(f"cycle {first} of CPU {cpu} is past: {again}")
    return RefusedError(f"cycle {first} of CPU {cpu} lies ahead: its next one is {cycle + 1}")

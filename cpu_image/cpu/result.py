"""The result of a command: its fields, its status, and how a pod prints and leaves it.

A result is one JSON object of less than 4,096 bytes, which Kubernetes allows a termination message. Each has

    sentence      what the command did, in one line for people, by `cpu.describe`; not kept in Redis
    status        what became of the CPU (see `Status`), of the start run or of the items run, as below
    start         the name of the start run; the commands of an items run have `items` instead, its name

The commands add:

    store       status `stored`
                instructions  how many the program has
                candidates    hexadecimal number; its bit N is set if CPU N is a candidate
                warning       why this Redis may lose the CPUs; left out if there is no reason

    load, exec  status of the CPU
                cpu           its number: 0 runs the program as written, N swaps the Nth instruction
                first         exec: the cycle asked for, which is the first one executed
                cycle         the last cycle executed; 0 after load
                instruction   exec: what that cycle executed, such as "jmp +4"; null if it executed none
                line          exec: the line of the program text with that instruction, from 1; or null
                pc, acc       program counter and accumulator after that cycle, as decimal strings
                swap          {"line": 8, "before": "jmp -4", "after": "nop -4"}; null if there is none
                verdict       the answer that this CPU gives: "part1", "part2", or "none" (no swap ends
                              the program); left out if it gives none
                over          true if this stop ends the start run: all parts are answered, or all CPUs
                              have stopped; otherwise left out

    read        as the CPU's last load or exec, and the account of its start run:
                seconds       from the store to the CPU's stop, or to now
                cpus          how many candidates there are
                stopped       how many of them have stopped
                ended         how many of them have stopped with `end`

    answers     status `answered`; `cancelled` or `lost`: a part has no answer and gets none; or `running`
                parts         to solve: [1, 2], [1] or [2]
                instructions  how many the program has
                cpus          how many CPUs solve these parts, CPU 0 included
                stopped       how many of them have stopped
                ended         how many candidates have stopped with `end`
                lost          CPUs that stand still, as Redis has lost registers; left out if there are none
                part1         status, cpu, cycle, line, pc, acc and swap (null) of CPU 0, as `exec` gives
                              them; left out if part 1 is not to be solved, or has no answer
                part2         the same of the first candidate that ended; null if no swap ends the program

    cancel      status `cancelled`

    survey      status `running`, or `over`: all CPUs have stopped, the start run is cancelled, or expired
                cycles        per pod, as `store` was given them; left out if the start run is cancelled
                              or expired
                due           [CPU, cycle that its latest pod was asked for, cycle that is due] for each CPU
                              that has not stopped: without a pod for either cycle, the CPU is stuck
                answers       [CPU, cycle whose DAG run posts the answer] for each CPU that gives one
                lost          the CPUs of which Redis has lost registers; left out if there are none
                more          the first CPU that this result has no room for, where the next survey begins;
                              or null

    plan        status `planned`
                seed, total, per_pod   as given
                pods          how many pods solve all items; their numbers begin with 0
                warning       as of `store`

    work        status `solved`
                pod           its number
                first_item, last_item  its share
                done          how many items of the share it has solved
                failed        how many it has not: the machine does not end with the swap that should end
                failed_items  the first of these; left out if there are none
                cycles        executed for both parts of all these items

    report      status `complete` (each item is done once) or `incomplete`
                seed, total, per_pod, pods   the plan
                done          items whose bit is set
                lost          items that are neither done nor failed
                doubled       how many more items the tally has than bits are set
                failed        items that a pod could not solve
                committed     pods whose shares are counted
                repeated      how often a share was to be counted again, and was not
                missing       the first pods whose shares are not counted
                cycles        executed for both parts of all items
                part1         how many items have each status, such as {"loop": 985, "end": 9, "fault": 6}
                part2         how many items `one`, `several` or `none` of the swaps end
                acc           how many items have an accumulator of part 2 in each bucket, by the bucket's
                              lower bound; the first and the last bucket are open
                acc1_sum, acc2_sum   of the accumulators of both parts, as decimal strings
                cycles_of_items      how many items took that many cycles, in buckets as `acc`
                seconds       from the plan to the last commit
                work_seconds  from the first commit to the last
                solve_seconds CPU time that the pods took to make and to solve the items
                items_per_second, pods_per_second   done and committed, divided by `seconds`

`pc` and `acc` are strings because they may exceed 64 bits: msgpack refuses such integers, and many JSON
readers are exact to 53 bits only. All other numbers are far below that.
"""

import json
import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from cpu.errors import TemporaryError
from cpu.program import Instruction

Result = dict[str, Any]
"""See above for its fields."""


class Status(StrEnum):
    """What became of a CPU. Only `ok` has a next cycle."""

    OK = "ok"
    """It has a next cycle."""
    INVALID = "invalid"
    """Its instruction has nothing to swap: it runs no cycle."""
    END = "end"
    """The program counter is exactly one past the last instruction."""
    LOOP = "loop"
    """An instruction is about to run a second time."""
    FAULT = "fault"
    """The program counter is anywhere else outside the program."""
    STOPPED = "stopped"
    """It was stopped: another candidate has the answer, or the start run is cancelled."""


def swap_of(written: Instruction) -> dict[str, Any] | None:
    """Return the field `swap` for the instruction of that swap, None if it has nothing to swap."""
    swapped = written.swapped()
    return {"line": written.line, "before": str(written), "after": str(swapped)} if swapped else None


def to_line(result: Result) -> str:
    """Return the result as one line of JSON in ASCII; equal results give equal lines."""
    return json.dumps(result, separators=(",", ":"))


def print_line(line: str) -> None:
    """Print a line to standard output and flush it. Raises TemporaryError if standard output is closed."""
    try:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # the terminal may have no →
        print(line, flush=True)
    except OSError as error:
        sys.stdout = None  # or Python reports the error a second time at exit
        raise TemporaryError(f"cannot print the result: {error.strerror}") from error


def print_sentence(sentence: str) -> None:
    """Print a sentence to standard error and flush it; skip it if it is empty or cannot be printed."""
    if not sentence or sys.stderr is None:
        return
    try:
        sentence.encode(sys.stderr.encoding or "utf-8")
    except UnicodeEncodeError:
        sentence = sentence.replace("→", "->")
    try:
        print(sentence, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = None  # or Python fails with the same error at exit


def leave(line: str, path: Path) -> None:
    """Print the line, and write it to the file without a line end: `kubectl get` shows it in a column.

    In a pod the file is the container's termination message. Outside of a pod there may be neither such a
    file nor the right to create it: then the line is only printed.
    Raises TemporaryError if the line cannot be printed or the file cannot be written.
    """
    print_line(line)
    try:
        if path.exists() or _can_create(path):
            path.write_text(line)
    except OSError as error:
        raise TemporaryError(f"cannot write the result to {path}: {error.strerror}") from error


def _can_create(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True

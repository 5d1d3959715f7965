"""The form of DAG ``cpu_start``: its fields, and what follows from what a person enters."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

EXAMPLE = """\
nop +0
acc +1
jmp +4
acc +3
jmp -3
acc -99
acc +1
jmp -4
acc +6
"""
PROGRAMS = Path(__file__).parent / "programs"
BUNDLED = {
    "none": "the text below",
    "medium": "61 lines: 25 CPUs",
    "puzzle": "611 lines, like the puzzle: 230 CPUs; give 100 cycles per pod or more",
}
"""The choices of the field Program: the names of the files in PROGRAMS, and what the form shows for each."""
PARTS = {"both": (1, 2), "part 1": (1,), "part 2": (2,)}
NO_NUL_NO_SURROGATE = r"^[^\u0000\uD800-\uDFFF]*$"
"""PostgreSQL's JSON can hold neither NUL nor half a surrogate pair, and Airflow would not name the reason."""
CHUNK = 65_536  # characters; Linux allows 128 KiB per argument

PARAMS = {
    "bundled": Param(
        "none",
        enum=list(BUNDLED),
        values_display=BUNDLED,
        title="Program",
        description="A bundled program, or the text below. If a line is not an instruction, the run fails, "
        "and its note names the line.",
    ),
    "program": Param(
        EXAMPLE,
        type="string",
        format="multiline",
        minLength=1,
        maxLength=1_000_000,
        pattern=NO_NUL_NO_SURROGATE,
        title="Program text",
        description="One instruction per line: acc, jmp or nop, and a signed number. Up to 10,000 lines.",
    ),
    "cycles": Param(
        1,
        type="integer",
        minimum=1,
        maximum=10_000,
        title="Cycles per pod",
        description="How many clock cycles a pod executes. 1 is one pod per clock cycle; more is faster.",
    ),
    "parts": Param(
        "both",
        enum=list(PARTS),
        title="Parts",
        description="Part 1: the accumulator right before an instruction runs a second time. Part 2: the "
        "accumulator at the end of the program, with the one jmp or nop swapped that lets it end.",
    ),
    "stop_at_first_answer": Param(
        True,
        type="boolean",
        title="Stop at the first answer",
        description="When part 2 is answered, the CPUs that still run stop at their next cycle.",
    ),
}


def start_id(context: Context) -> str:
    """Return the start run's name: a DNS label of time and hash, the same in every try of every task."""
    run = context["dag_run"]
    digest = hashlib.sha256(run.run_id.encode()).hexdigest()[:6]
    return f"{run.run_after:%Y%m%d-%H%M%S}-{digest}"


def program_of(params: Mapping[str, Any]) -> str:
    """Return the text of the program: a bundled one, or the text that was entered."""
    chosen = params["bundled"]
    return str(params["program"]) if chosen == "none" else (PROGRAMS / f"{chosen}.txt").read_text()


def store_args(context: Context, **_: Any) -> list[str]:
    """Return the arguments of the pod that stores the program.

    The program is compressed and in base64, so that 10,000 lines fit, and so that nothing in the text means
    anything to a template, a shell or Kubernetes.
    """
    params = context["params"]
    encoded = base64.b64encode(zlib.compress(program_of(params).encode())).decode()
    chunks = [encoded[i : i + CHUNK] for i in range(0, len(encoded), CHUNK)]
    parts = [flag for part in PARTS[params["parts"]] for flag in ("--part", str(part))]
    keep_going = [] if params["stop_at_first_answer"] else ["--keep-going"]
    options = [*parts, *keep_going, "--cycles", str(cycles_per_pod(params))]
    return ["store", "--start", start_id(context), *options, "--encoded", *chunks]


def cycles_per_pod(params: Mapping[str, Any]) -> int:
    """Return the cycles per pod as an integer: the form accepts 1.0 too, the image does not."""
    return int(params["cycles"])


def cpus_to_start(parts: str, candidates: str) -> list[int]:
    """Return the CPUs to start: 0 for part 1, and all candidates for part 2.

    A candidate has the number of its ``jmp`` or ``nop`` in the program. ``candidates`` is the hexadecimal
    number in the result of ``store``.

    >>> cpus_to_start("both", "0x12a")
    [0, 1, 3, 5, 8]
    """
    bits = int(candidates, 16) if 2 in PARTS[parts] else 0
    numbers = [number for number in range(1, bits.bit_length()) if bits >> number & 1]
    return ([0] if 1 in PARTS[parts] else []) + numbers

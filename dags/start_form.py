"""The form of DAG ``cpu_start``: its fields, and what follows from what a person enters."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from dags.bundled import BUNDLED, file_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

PARTS = {"both": (1, 2), "part 1": (1,), "part 2": (2,)}
NO_NUL_NO_SURROGATE = r"^[^\u0000\uD800-\uDFFF]*$"
"""PostgreSQL's JSON can hold neither NUL nor half a surrogate pair, and Airflow would not name the reason."""
CHUNK = 65_536  # characters; Linux allows 128 KiB per argument

PARAMS = {
    "bundled": Param(
        "example",
        enum=list(BUNDLED),
        values_display={name: f"{name}: {text}" for name, text in BUNDLED.items()},
        title="Program",
        description="The program to run. Each of its CPUs runs it with one instruction swapped, except the "
        "first, which runs it as written.",
    ),
    "program": Param(
        None,
        type=["null", "string"],
        format="multiline",
        minLength=1,
        maxLength=1_000_000,
        pattern=NO_NUL_NO_SURROGATE,
        title="Your own program",
        description="If you enter a program here, it runs instead of the one chosen above. Write one "
        "instruction per line: acc, jmp or nop, and a signed number, such as jmp -4. 10,000 lines are the "
        "limit. If a line is not an instruction, the run fails, and its note names the line.",
    ),
    "cycles": Param(
        1,
        type="integer",
        minimum=1,
        maximum=10_000,
        title="Cycles per pod",
        description="How many instructions a pod executes before it exits. With 1, each clock cycle is a pod "
        "of its own. More is faster, and the answers are the same.",
    ),
    "parts": Param(
        "both",
        enum=list(PARTS),
        title="Questions to answer",
        description="Part 1: what is in the accumulator right before an instruction runs a second time? "
        "Part 2: what is in it at the end of the program, if one jmp or nop is swapped for the other so that "
        "the program ends?",
    ),
    "stop_at_first_answer": Param(
        True,
        type="boolean",
        title="Stop at the first answer",
        description="When a CPU has answered part 2, the others stop at their next cycle. Switch it off to "
        "see how each of them ends.",
    ),
}


def start_id(context: Context) -> str:
    """Return the start run's name: a DNS label of time and hash, the same in every try of every task."""
    run = context["dag_run"]
    digest = hashlib.sha256(run.run_id.encode()).hexdigest()[:6]
    return f"{run.run_after:%Y%m%d-%H%M%S}-{digest}"


def program_of(params: Mapping[str, Any]) -> str:
    """Return the text of the program: the one that was entered, or else the bundled one that was chosen."""
    entered = params["program"]
    return file_of(params["bundled"]).read_text() if entered is None else str(entered)


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

"""Programs for the end-to-end tests."""

from __future__ import annotations

import random

from cpu import program as programs
from cpu import reference as solver
from tests.support.stack import reference


def random_program(lines: int, seed: int) -> str:
    """Return a program of that many lines, the same for the same seed."""
    random_ = random.Random(seed)
    return "".join(
        f"{random_.choice(['acc', 'jmp', 'nop'])} {random_.randint(-lines, lines):+d}\n" for _ in range(lines)
    )


def a_loop(length: int) -> str:
    """Return a program that adds 1 that many times and then jumps back to its first line."""
    return "acc +1\n" * length + f"jmp -{length}\n"


def thirty_lines_with_faulting_swaps() -> str:
    """Return the first random program that loops, with one swap that ends it and some that make it fault."""
    for seed in range(100_000):
        text = random_program(30, seed)
        program = programs.parse(text)
        if reference(program, 0).status != "loop" or len(solver.ending_cpus(program)) != 1:
            continue
        statuses = [reference(program, cpu).status for cpu in program.candidates()]
        if statuses.count("fault") >= 2 and statuses.count("loop") >= 2 and reference(program, 0).cycle >= 8:
            return text
    raise AssertionError("no such program among the seeds")

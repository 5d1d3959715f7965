"""The generator of long programs."""

from __future__ import annotations

import pytest

from cpu import machine, reference
from cpu import program as programs
from cpu.memory import InProcessMemory
from cpu.result import Status
from scripts.bench.puzzle import LINES, main, puzzle


@pytest.mark.parametrize("lines", [30, 31, 64, LINES])
@pytest.mark.parametrize("seed", range(20))
def test_the_program_loops_and_exactly_one_swap_ends_it(lines: int, seed: int) -> None:
    program = programs.parse(puzzle(lines, seed))
    assert len(program.instructions) == lines
    assert machine.run(InProcessMemory(program)).status is Status.LOOP
    assert len(reference.ending_cpus(program)) == 1


def test_the_program_takes_about_as_many_cpus_and_cycles_as_the_puzzle_s_own() -> None:
    program = programs.parse(puzzle(LINES, 1))
    candidates = list(program.candidates())
    cycles = 0
    for cpu in candidates:
        memory = InProcessMemory(program.with_swap(cpu))
        machine.run(memory)
        cycles += len(memory._visited)
    assert 200 < len(candidates) < 260
    assert 50_000 < cycles < 62_000


def test_too_few_lines_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--lines", "29"])
    assert "give 30 or more" in capsys.readouterr().err

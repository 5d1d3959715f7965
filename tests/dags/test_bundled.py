"""The programs that come with the project: each is what the form and the demo say of it."""

from __future__ import annotations

import pytest

from cpu import program as programs
from cpu import reference
from cpu.program import Program
from dags.bundled import BUNDLED, FOLDER, file_of
from tests.support.solver import EXAMPLE


def parsed(name: str) -> Program:
    return programs.parse(file_of(name).read_text())


@pytest.mark.parametrize(("name", "description"), BUNDLED.items())
def test_description_has_the_length_and_the_number_of_cpus(name: str, description: str) -> None:
    program = parsed(name)
    cpus = len(list(program.candidates())) + 1
    assert description.endswith(f"({len(program)} lines, {cpus} CPUs)")


def test_every_file_in_the_folder_is_offered() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(BUNDLED)


@pytest.mark.parametrize("name", sorted({*BUNDLED} - {"fault"}))
def test_program_loops_as_it_is_written(name: str) -> None:
    assert reference.part1(parsed(name)).isdigit()


def test_fault_jumps_out_of_the_program_instead_of_looping() -> None:
    assert reference.part1(parsed("fault")) == "the program does not loop: it faults at line 7 (pc 26)"


@pytest.mark.parametrize("name", ["example", "fault", "medium", "puzzle"])
def test_exactly_one_swap_ends_a_program_whose_description_says_nothing_else(name: str) -> None:
    assert len(reference.ending_cpus(parsed(name))) == 1


def test_no_swap_ends_endless_and_more_than_one_ends_several() -> None:
    assert reference.ending_cpus(parsed("endless")) == []
    assert len(reference.ending_cpus(parsed("several"))) > 1


def test_example_is_the_puzzle_s() -> None:
    assert file_of("example").read_text() == EXAMPLE

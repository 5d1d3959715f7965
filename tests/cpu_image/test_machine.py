"""The instruction set and the machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpu import machine
from cpu.instructions import INSTRUCTION_SET, Operation, Registers
from cpu.memory import InProcessMemory
from cpu.program import parse
from cpu.result import Status
from tests.support.solver import EXAMPLE, Answer, Lines, programs, solve, text_of


def memory_of(text: str, cpu: int = 0) -> InProcessMemory:
    return InProcessMemory(parse(text).with_swap(cpu))


@pytest.mark.parametrize(
    ("operation", "after"),
    [("acc", Registers(4, 7, 10)), ("jmp", Registers(-2, 12, 10)), ("nop", Registers(4, 12, 10))],
)
def test_each_operation_changes_one_register_and_counts_the_cycle(operation: str, after: Registers) -> None:
    assert INSTRUCTION_SET[operation].execute(Registers(3, 12, 9), -5) == after


@pytest.mark.parametrize("name", INSTRUCTION_SET)
def test_a_swap_partner_exists_and_swaps_back(name: str) -> None:
    partner = INSTRUCTION_SET[name].swaps_with
    assert partner is None or INSTRUCTION_SET[partner].swaps_with == name


def test_a_new_operation_needs_nothing_but_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INSTRUCTION_SET, "mul", Operation(acc=lambda acc, argument: acc * argument))
    memory = memory_of("acc +7\nmul -6\njmp -1")
    assert machine.run(memory).registers == Registers(1, -42, 3)


def test_one_cycle_fetches_decodes_executes_and_writes_back() -> None:
    memory = memory_of("jmp +2\nnop +0\nacc +5\nnop +0")
    outcome = machine.cycle(memory)
    assert (outcome.status, str(outcome.instruction), outcome.registers) == (
        Status.OK,
        "jmp +2",
        Registers(2, 0, 1),
    )
    assert [memory.visited(address) for address in range(4)] == [True, False, False, False]
    assert machine.cycle(memory).registers == Registers(3, 5, 2)


@pytest.mark.parametrize(
    ("text", "status", "pc"),
    [
        ("nop +0", Status.END, 1),
        ("jmp +1", Status.END, 1),
        ("jmp +2\nnop +0", Status.END, 2),
        ("jmp +0", Status.LOOP, 0),
        ("nop +0\njmp -1", Status.LOOP, 0),
        ("jmp -1", Status.FAULT, -1),
        ("jmp +2", Status.FAULT, 2),
        ("nop +0\njmp -2\nacc +1", Status.FAULT, -1),
        (f"jmp +{2**63 - 1}", Status.FAULT, 2**63 - 1),
        (f"jmp -{2**63}", Status.FAULT, -(2**63)),
    ],
)
def test_a_cpu_ends_loops_or_faults_by_its_program_counter(text: str, status: Status, pc: int) -> None:
    outcome = machine.run(memory_of(text))
    assert (outcome.status, outcome.registers.pc) == (status, pc)


def test_a_loop_is_found_without_executing_another_cycle() -> None:
    assert machine.run(memory_of("nop +0\njmp -1")).registers.cycle == 2


@pytest.mark.parametrize("pc", [-1, -9, 9, 2**63])
def test_fetching_outside_of_the_program_raises_index_error(pc: int) -> None:
    memory = memory_of(EXAMPLE)
    memory.registers = Registers(pc=pc)
    with pytest.raises(IndexError, match=f"nothing to fetch at pc {pc}"):
        machine.cycle(memory)


def test_the_accumulator_may_grow_past_64_bits() -> None:
    assert machine.run(memory_of(f"acc +{2**63 - 1}\n" * 9)).registers.acc == 9 * (2**63 - 1)


@given(programs, st.data())
def test_the_machine_agrees_with_an_independent_solver(lines: Lines, data: st.DataObject) -> None:
    cpu = data.draw(st.integers(0, len(lines)))
    outcome = machine.run(memory_of(text_of(lines), cpu))
    assert Answer(outcome.status, *outcome.registers) == solve(lines, cpu)


@given(programs, st.lists(st.integers(1, 5), min_size=24, max_size=24))
def test_a_run_in_several_pieces_comes_to_the_same_registers(lines: Lines, pieces: list[int]) -> None:
    memory = memory_of(text_of(lines))
    before = 0
    for cycles in pieces:
        outcome = machine.run(memory, cycles)
        if outcome.status is not Status.OK:
            break
        assert outcome.registers.cycle == before + cycles
        before += cycles
    assert Answer(outcome.status, *outcome.registers) == solve(lines)

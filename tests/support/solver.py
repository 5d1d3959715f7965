"""A solver that shares no code with the CPU, for comparison, and random programs for both."""

from typing import NamedTuple

from hypothesis import strategies as st

Lines = list[tuple[str, int]]

EXAMPLE = "nop +0\nacc +1\njmp +4\nacc +3\njmp -3\nacc -99\nacc +1\njmp -4\nacc +6\n"


class Answer(NamedTuple):
    """The status of a CPU that has stopped, and its registers."""

    status: str
    pc: int
    acc: int
    cycles: int


def solve(lines: Lines, cpu: int = 0) -> Answer:
    """Run a program with its instruction number `cpu` swapped until it stops."""
    pc, acc, seen = 0, 0, set()
    while 0 <= pc < len(lines) and pc not in seen:
        seen.add(pc)
        operation, argument = lines[pc]
        if pc == cpu - 1:
            operation = {"jmp": "nop", "nop": "jmp"}.get(operation, operation)
        acc += argument if operation == "acc" else 0
        pc += argument if operation == "jmp" else 1
    status = "loop" if pc in seen else "end" if pc == len(lines) else "fault"
    return Answer(status, pc, acc, len(seen))


def text_of(lines: Lines) -> str:
    """Return the program as text."""
    return "\n".join(f"{operation} {argument:+d}" for operation, argument in lines)


def candidates(lines: Lines) -> list[int]:
    """Return the numbers of the candidates."""
    return [n for n, (operation, _) in enumerate(lines, 1) if operation != "acc"]


_near = st.integers(-6, 6)
_far = st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1, -10_001, 10_001])
programs: st.SearchStrategy[Lines] = st.lists(
    st.tuples(st.sampled_from(["acc", "jmp", "nop"]), st.one_of(_near, _near, _near, _far)),
    min_size=1,
    max_size=24,
)

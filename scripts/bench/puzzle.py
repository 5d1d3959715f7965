"""A program like the puzzle's own: long, it loops, and exactly one swap ends it.

    python -m scripts.bench.puzzle > puzzle.txt
    make demo PROGRAM=puzzle.txt CYCLES=1000 CPUS=64

The program is made of blocks, each a few `acc` and `nop`, then a `jmp` to another block. Half of the
lines are the loop: its blocks in a random order. The others lead to the end, and nothing leads to them
but one swap: the last of the loop's blocks falls through to the first of them once its `jmp` is a `nop`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise

from scripts.command import ended

LINES = 611
SHORTEST, LONGEST = 2, 5
"""Lines of a block."""


def puzzle(lines: int, seed: int) -> str:
    """The program's text; the same for the same seed. Raises ValueError for less than 30 lines."""
    if lines < 30:
        raise ValueError(f"{lines} lines are too few for a loop and a way out of it: give 30 or more")
    random_ = random.Random(seed)  # noqa: S311 (the same for the same seed)
    loop = blocks(lines // 2, random_)
    way_out = blocks(lines - sum(loop), random_)
    sizes = loop + way_out
    starts = [0, *accumulate(sizes)]  # with the end of the program
    follows = ring(len(loop), random_) | {
        # Each of the others goes on to a later one, and so comes to the end.
        block: random_.randint(block + 1, min(block + 3, len(sizes)))
        for block in range(len(loop), len(sizes))
    }
    text = []
    for block, size in enumerate(sizes):
        last = starts[block] + size - 1
        for address in range(starts[block], last):
            if random_.random() < 0.12:
                # As a jmp it would stay among the blocks of its own kind.
                among = range(len(loop)) if block < len(loop) else range(block + 1, len(sizes))
                to = starts[random_.choice(among)] if among else starts[-1]
                text.append(f"nop {to - address:+d}")
            else:
                text.append(f"acc {random_.randint(-20, 50):+d}")
        text.append(f"jmp {starts[follows[block]] - last:+d}")
    return "\n".join(text) + "\n"


def blocks(lines: int, random_: random.Random) -> list[int]:
    """So many lines parted into blocks; their lengths."""
    sizes = []
    while lines > LONGEST + SHORTEST:
        sizes.append(random_.randint(SHORTEST, LONGEST))
        lines -= sizes[-1]
    return [*sizes, lines]


def ring(number: int, random_: random.Random) -> dict[int, int]:
    """For each block the next in a random order that begins with the first and comes back to it."""
    others = list(range(1, number))
    random_.shuffle(others)
    order = [0, *others, 0]
    return dict(pairwise(order))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.puzzle", description=__doc__, formatter_class=raw
    )
    parser.epilog = "exit code: 0 it is printed, 2 there is none of that length, 130 interrupted"
    parser.add_argument("--lines", type=int, default=LINES, help=f"how long ({LINES})")
    parser.add_argument("--seed", type=int, default=1, help="which of many (1)")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(puzzle(options.lines, options.seed))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(ended(main))

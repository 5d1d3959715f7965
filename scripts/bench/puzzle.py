"""Generate a program like the puzzle's own: long, with a loop, and exactly one swap that ends it.

    python -m scripts.bench.puzzle > puzzle.txt
    make demo PROGRAM=puzzle.txt CYCLES=1000 CPUS=64

The program consists of blocks: each has a few `acc` and `nop`, then a `jmp` to another block. Half of the
lines are the loop, whose blocks follow one another in a random order. The other half is the way out, and only
one swap leads there: the last block of the loop continues into it when its `jmp` is swapped for a `nop`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise

from scripts.command import run_command

LINES = 611
SHORTEST, LONGEST = 2, 5
"""The lengths of a block, in lines."""


def puzzle(lines: int, seed: int) -> str:
    """Return the text of the seed's program of that length. Raises ValueError for fewer than 30 lines."""
    if lines < 30:
        raise ValueError(f"{lines} lines are too few for a loop and a way out of it: give 30 or more")
    random_ = random.Random(seed)  # noqa: S311 (the same for the same seed)
    loop = blocks(lines // 2, random_)
    way_out = blocks(lines - sum(loop), random_)
    sizes = loop + way_out
    starts = [0, *accumulate(sizes)]  # with the end of the program
    follows = ring(len(loop), random_) | {
        # Each block of the way out leads to a later one, and so to the end.
        block: random_.randint(block + 1, min(block + 3, len(sizes)))
        for block in range(len(loop), len(sizes))
    }
    text = []
    for block, size in enumerate(sizes):
        last = starts[block] + size - 1
        for address in range(starts[block], last):
            if random_.random() < 0.12:
                # Swapped for a jmp, it stays within the loop, or within the way out.
                among = range(len(loop)) if block < len(loop) else range(block + 1, len(sizes))
                to = starts[random_.choice(among)] if among else starts[-1]
                text.append(f"nop {to - address:+d}")
            else:
                text.append(f"acc {random_.randint(-20, 50):+d}")
        text.append(f"jmp {starts[follows[block]] - last:+d}")
    return "\n".join(text) + "\n"


def blocks(lines: int, random_: random.Random) -> list[int]:
    """Divide so many lines into blocks; return their lengths."""
    sizes = []
    while lines > LONGEST + SHORTEST:
        sizes.append(random_.randint(SHORTEST, LONGEST))
        lines -= sizes[-1]
    return [*sizes, lines]


def ring(number: int, random_: random.Random) -> dict[int, int]:
    """Return the next block of each, in a random order that begins with the first and returns to it."""
    others = list(range(1, number))
    random_.shuffle(others)
    order = [0, *others, 0]
    return dict(pairwise(order))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a program."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.puzzle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit code: 0 success, 2 wrong options, 130 interrupted",
    )
    parser.add_argument("--lines", type=int, default=LINES, help=f"the length ({LINES})")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another program (1)")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(puzzle(options.lines, options.seed))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(run_command(main))

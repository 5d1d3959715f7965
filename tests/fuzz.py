"""Try hostile input for a while: ``python -m tests.fuzz --seconds 60 --seed 1``.

Runs the tests that make up their own examples, round after round with ever other seeds, until the first round
that ends after that time, or until something is found. Then the example, as small as it gets, and the round's
seed are printed, and the exit code is 1. The ordinary tests are a short round of the same.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

from scripts.command import ended

ROOT = Path(__file__).parents[1]
FOLDERS = ["tests/cpu_image", "tests/dags", "tests/scripts"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), metavar="N", help="to do one again")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    for seed in count(options.seed):
        print(f"seed {seed}", flush=True)
        if code := one_round(seed):
            print(f"found something: make fuzz SEED={seed} finds it again", file=sys.stderr)
            return code
        if time.monotonic() > end:
            return 0
    raise AssertionError("seeds never end")


def one_round(seed: int) -> int:
    """All tests that Hypothesis makes examples for; pytest's exit code."""
    options = ["--hypothesis-seed", str(seed), "--hypothesis-profile", "fuzz", "-m", "hypothesis"]
    command = [sys.executable, "-m", "pytest", "--quiet", "--exitfirst", *options, *FOLDERS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(ended(main))

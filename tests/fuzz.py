"""Fuzz the property tests for a while: `python -m tests.fuzz --seconds 60 --seed 1`.

Runs all tests whose examples Hypothesis generates, round after round with a new seed, until the time is over
or a test fails. After a failure it prints the smallest failing example and the round's seed; it exits with 1.
The ordinary test run is one short round of the same tests.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

from scripts.command import run_command

ROOT = Path(__file__).parents[1]
FOLDERS = ["tests/cpu_image", "tests/dags", "tests/scripts"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=60, metavar="N", help="how long to run (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=secrets.randbits(32),
        metavar="N",
        help="the first round's seed (default: random)",
    )
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    for seed in count(options.seed):
        print(f"seed {seed}", flush=True)
        if code := one_round(seed):
            print(f"a test failed: make fuzz SEED={seed} repeats this round", file=sys.stderr)
            return code
        if time.monotonic() > end:
            return 0
    raise AssertionError("seeds never end")


def one_round(seed: int) -> int:
    """Run all tests for which Hypothesis generates examples; return pytest's exit code."""
    options = ["--hypothesis-seed", str(seed), "--hypothesis-profile", "fuzz", "-m", "hypothesis"]
    command = [sys.executable, "-m", "pytest", "--quiet", "--exitfirst", *options, *FOLDERS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(run_command(main))

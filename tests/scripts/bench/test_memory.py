"""The memory of a tree of processes, and its peak."""

from __future__ import annotations

import subprocess
import sys

from scripts.bench.memory import memory_of, peak_memory

MEGABYTE = 2**20
HOLD = f"""
import os, sys

held = bytearray(os.urandom(1)) * (40 * {MEGABYTE})  # shared with the child
if os.fork() == 0:
    more = bytearray(os.urandom(1)) * (20 * {MEGABYTE})
    print("held", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_children_count_and_what_they_share_counts_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        used = memory_of([process.pid])
        process.communicate()
    least = (60 if sys.platform.startswith("linux") else 20) * MEGABYTE
    assert least < used < 95 * MEGABYTE


def test_a_process_that_has_ended_uses_no_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert memory_of([process.pid]) == 0


def test_the_peak_is_the_most_above_what_there_was_at_first() -> None:
    values = iter([10, 50, 20, 20])
    read = [0]

    def look() -> int:
        read.append(next(values, 20))
        return read[-1]

    with peak_memory(look, interval=0.001) as peak:
        while len(read) < 4:
            pass
    assert (peak.idle, peak.most, peak.above_idle) == (10, 50, 40)

"""``python -m scripts.local.housekeeping STATE``: has the stack cleaned up, soon after its start and hourly.

It only sleeps: what cleans up is a process of its own, so that in between nothing is in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

FIRST_SECONDS = 300  # a stack that has just come up has other things to do
PERIOD_SECONDS = 3600
LOWEST_PRIORITY = 19


def main(state: str) -> None:
    """Clean up again and again, at the lowest priority, until somebody ends this."""
    os.nice(LOWEST_PRIORITY)
    time.sleep(FIRST_SECONDS)
    while True:
        subprocess.run([sys.executable, "-m", "scripts.local", "clean-up", "--state", state], check=False)
        time.sleep(PERIOD_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])

"""Clean up the stack soon after its start, and then hourly: ``python -m scripts.local.housekeeping STATE``.

This process only sleeps. Another one cleans up, so that little is in memory in between.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

FIRST_SECONDS = 300  # a stack that has just come up is busy
PERIOD_SECONDS = 3600
LOWEST_PRIORITY = 19


def main(state: str) -> None:
    """Clean up periodically, at the lowest priority, until this process is ended."""
    os.nice(LOWEST_PRIORITY)
    time.sleep(FIRST_SECONDS)
    while True:
        subprocess.run([sys.executable, "-m", "scripts.local", "clean-up", "--state", state], check=False)
        time.sleep(PERIOD_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])

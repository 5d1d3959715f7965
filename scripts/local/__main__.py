"""``python -m scripts.local``: the whole stack on one machine, from one command."""

from __future__ import annotations

import sys

from scripts.command import run_command
from scripts.local.cli import main

if __name__ == "__main__":
    sys.exit(run_command(lambda: main(sys.argv[1:])))

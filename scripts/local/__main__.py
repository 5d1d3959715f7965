"""``python -m scripts.local``: the whole stack on one machine, from one command."""

from __future__ import annotations

import sys

from scripts.command import run_command
from scripts.local.cli import main
from scripts.local.settings import REPOSITORY

if __name__ == "__main__":
    # The demo checks a program with the image's own parser, and reads Redis with the image's own keys.
    sys.path.append(str(REPOSITORY / "cpu_image"))
    sys.exit(run_command(lambda: main(sys.argv[1:])))

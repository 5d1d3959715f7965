"""``python -m scripts.pictures``: make the pictures of README and docs anew."""

from __future__ import annotations

import sys

from scripts.command import run_command
from scripts.local.settings import REPOSITORY

if __name__ == "__main__":
    # The demo reads Redis with the image's own keys.
    sys.path.append(str(REPOSITORY / "cpu_image"))
    from scripts.pictures.cli import main

    sys.exit(run_command(lambda: main(sys.argv[1:])))

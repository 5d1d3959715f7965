"""``python -m scripts.local``: the whole stack on one machine, from one command."""

from __future__ import annotations

import sys

from scripts.command import ended
from scripts.local.cli import main
from scripts.local.settings import REPOSITORY

if __name__ == "__main__":
    # The demo checks a program with the image's own parser, and knows Redis by its table of keys.
    sys.path.append(str(REPOSITORY / "cpu_image"))
    sys.exit(ended(lambda: main(sys.argv[1:])))

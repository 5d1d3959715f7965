"""``python -m scripts.report``: pictures of a start run."""

from __future__ import annotations

import sys

from scripts.report.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m scripts.report``: pictures of a start run."""

from __future__ import annotations

import sys

from scripts.local.settings import REPOSITORY

if __name__ == "__main__":
    sys.path.append(str(REPOSITORY / "cpu_image"))
    from scripts.report.cli import main

    sys.exit(main())

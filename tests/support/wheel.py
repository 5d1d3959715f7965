"""Build the wheel of the pod operator, with the command of `make wheel`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.chart import ROOT


def build(folder: Path) -> Path:
    """Build the wheel in this folder, in the environment as it is, and return its path."""
    make = ["make", "--silent", "--assume-old=.venv/ready", "wheel", f"FOLDER={folder}"]
    subprocess.run(make, cwd=ROOT, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel

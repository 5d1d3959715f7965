"""Every download is checked against a hash in this repository."""

from __future__ import annotations

import subprocess

from tests.support.chart import ROOT


def commands_of_the_set_up() -> list[str]:
    """Return every command that `make` runs to create `.venv`."""
    command = ["make", "--dry-run", "--always-make", ".venv/ready", ".venv/helm"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.replace("\\\n", " ").splitlines()


def test_every_package_is_installed_with_its_hash_checked() -> None:
    installs = [one for one in commands_of_the_set_up() if " pip install " in one or " pip sync " in one]
    assert len(installs) == 4
    assert [one for one in installs if "--require-hashes" not in one] == []

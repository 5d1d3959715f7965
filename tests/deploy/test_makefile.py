"""What make would run, as `make --dry-run` tells."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from scripts.local.settings import REPOSITORY


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        ("demo", "PROGRAM=/my folder/program.txt"),
        ("demo", "KUBECONFIG=/my folder/config"),
        ("report", "FOLDER=my folder"),
        ("browser", "FOLDER=my folder"),
        ("wheel", "FOLDER=my folder"),
        (".venv/ready", "PYTHON=/my folder/python3"),
    ],
)
def test_make_passes_a_path_with_a_space_as_one_argument(target: str, setting: str) -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", target, setting],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = shown.stdout.replace("\\\n", " ").splitlines()
    words = [word for line in lines if "my folder" in line for word in shlex.split(line)]
    assert setting.partition("=")[2] in words

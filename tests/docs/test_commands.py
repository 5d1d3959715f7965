"""Every command in the documentation is run by a test or by the pipeline, or its arguments are accepted."""

from __future__ import annotations

import subprocess

import pytest

from scripts.kind import helm
from tests.docs import commands
from tests.docs.documents import DOCUMENTS, ROOT, Command, read

COMMANDS = {command.text: command for path in DOCUMENTS for command in read(path).commands()}
LANGUAGES = {"console", "mermaid", "python", "json", "text"}
"""Of fenced blocks. Commands are in console blocks, where they are checked."""


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda one: f"{one.place} {one.text}"[:100])
def test_a_command_in_the_documentation_works(command: Command, pytestconfig: pytest.Config) -> None:
    commands.check(command, pytestconfig)


@pytest.mark.parametrize(
    "text",
    [
        "frobnicate --all",
        "make frobnicate",
        "make demo FROBNICATE=1",
        "make demo PORT=many",
        "python -m cpu run",
        "python -m scripts.local up --frobnicate",
        "python -m scripts.frobnicate",
        "pytest tests/frobnicate",
        "pytest -m frobnicate",
        "pytest --frobnicate",
        "kubectl get pods --frobnicate",
        "kubectl apply -k scripts/frobnicate",
        "FROBNICATE=1 make demo",
        "cd cpu_image && python -m cpu run ../frobnicate.txt",
    ],
)
def test_a_command_that_does_not_work_is_found(text: str, pytestconfig: pytest.Config) -> None:
    with pytest.raises((AssertionError, ValueError)):
        commands.check(Command("here", text), pytestconfig)


def test_an_output_that_is_not_the_command_s_is_found(pytestconfig: pytest.Config) -> None:
    shown = Command("here", "cd cpu_image && python -m cpu run ../dags/programs/medium.txt", ["Part 1: 0"])
    with pytest.raises(AssertionError):
        commands.check(shown, pytestconfig)


def test_every_target_of_the_makefile_is_run_by_somebody() -> None:
    for target in commands.makefile_targets():
        commands.require_place(target)


def test_no_target_and_no_command_is_excused_that_does_not_exist() -> None:
    targets = {f"make {target}" for target in commands.makefile_targets()}
    assert {f"make {target}" for target in commands.TARGETS_RUN_BY} <= targets
    typed = {" ".join(words[:2]) for text in COMMANDS for _, words in commands.simple_commands(text) if words}
    assert set(commands.BY_HAND) <= targets | typed


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_in_console_blocks(path: str) -> None:
    unknown = [block.place for block in read(path).blocks if block.language not in LANGUAGES]
    assert unknown == []


def test_make_alone_lists_every_target_with_what_it_does() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert listed == {target for target in commands.makefile_targets() if not target.startswith(".venv")}


def test_the_chart_s_version_in_the_documentation_is_the_one_that_is_tested() -> None:
    [command] = [text for text in COMMANDS if text.startswith("helm upgrade")]
    assert f"--version {helm.CHART_VERSION} " in command

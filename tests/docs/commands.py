"""Checks of the commands in the documentation: each is run somewhere, or its arguments are accepted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, Command, files, sources

TARGETS_RUN_BY = {
    "audit": (".gitlab-ci.yml", "make audit"),
    "bench": ("tests/scripts/bench/whole/test_bench.py", '"scripts.bench.cycles"'),
    "browser": (".gitlab-ci.yml", "make browser"),
    "clean": ("tests/scripts/local/test_commands.py", 'command("down", "--purge"'),
    "demo": (".ci/run", "make demo"),
    "down": (".ci/run", "make down"),
    "faults": (".gitlab-ci.yml", "pytest -s -m faults tests/faults"),
    "help": ("tests/docs/test_commands.py", '["make"]'),
    "items": (".ci/run", "make items"),
    "lint": (".gitlab-ci.yml", "make lint"),
    "logs": ("tests/airflow/test_secrets.py", '"scripts.local", "logs"'),
    "pictures": (".gitlab-ci.yml", "make pictures"),
    "pods": ("tests/kubernetes/test_kubectl.py", "get_pods"),
    "report": ("tests/scripts/report/test_cli.py", '"scripts.report"'),
    "status": (".ci/run", "scripts.local status"),
    "test": (".ci/run", "make test-all"),  # its plain tests are the same, its core tests are among the others
    "test-all": (".ci/run", "make test-all"),
    "up": ("tests/scripts/local/whole/test_up_and_down.py", '"up"'),
    "wheel": (".gitlab-ci.yml", "make wheel"),
    ".venv/helm": (".gitlab-ci.yml", "make .venv/helm"),
    ".venv/kubectl": (".gitlab-ci.yml", "make .venv/kubectl"),
    ".venv/ready": (".gitlab-ci.yml", "make .venv/ready"),
}
"""For each target of the Makefile, a file that runs it or its command, and the text that shows that."""
BY_HAND = {
    "make fuzz": "has no end of its own; the plain tests are a short round of the same",
    "make kind": "needs Docker and kind",
    "make kind-down": "needs Docker and kind",
    "make load": "takes a quarter of an hour of the whole machine",
    "make lock": "needs a package index, and changes the lock file",
    "docker build": "needs Docker; the pipeline builds the same folder with buildah",
    "docker push": "needs a registry",
    "git clone": "needs the address of a clone",
    "helm upgrade": "needs the chart's repository; tests/chart installs the same values",
}
"""The commands that nothing in the pipeline runs, and why. Arguments of make are checked nevertheless."""
_MAKE = ["make", "--dry-run", "--no-print-directory"]
_PARSE = """
import argparse, runpy, sys
parse = argparse.ArgumentParser.parse_args
def parse_only(*arguments):
    parse(*arguments)
    print("accepted")
    raise SystemExit
argparse.ArgumentParser.parse_args = parse_only
sys.argv[:] = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""A program that lets a module parse its arguments, and exits before the module acts on them."""


class UntestedError(AssertionError):
    """No test or pipeline runs this command."""


def check(command: Command, config: pytest.Config) -> None:
    """Raise an AssertionError unless the command is known to work."""
    folder = ROOT
    for environment, arguments in simple_commands(command.text):
        for name in environment:
            assert name in sources(), f"no source knows the variable {name}"
        program = Path(arguments[0]).name if arguments else "export"
        rest = arguments[1:]
        if program == "cd":
            folder = folder / rest[0] if rest[0] != "cluster-cpu" else ROOT
            assert folder.is_dir()
        elif program == "make":
            check_make(rest)
        elif program == "python":
            check_python(rest, folder, command.output)
        elif program == "pytest":
            check_pytest(rest, config)
        elif program == "kubectl":
            check_kubectl(rest)
        elif arguments == [".ci/run"]:
            assert os.access(ROOT / ".ci/run", os.X_OK)
        elif program == "export":
            continue
        elif " ".join(arguments[:2]) not in BY_HAND:
            raise UntestedError(
                f"no test runs {shlex.join(arguments)}: add a check, or to BY_HAND with the reason"
            )


def simple_commands(text: str) -> list[tuple[dict[str, str], list[str]]]:
    """Split a command line at ``&&`` and ``|``; each part is its environment and its words.

    An ellipsis stands for some text.
    """
    lexer = shlex.shlex(text.replace("…", "0"), posix=True, punctuation_chars="&|")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts = [list(words) for is_word, words in groupby(lexer, lambda word: word[0] not in "&|") if is_word]
    found = []
    for words in parts:
        environment = {}
        if words[0] == "export":
            words.pop(0)
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        found.append((environment, words))
    return found


def check_make(words: list[str]) -> None:
    """Check that targets exist and are run, settings are read, and the commands' arguments accepted."""
    makefile = files()["Makefile"]
    settings = [word for word in words if "=" in word]
    targets = [word for word in words if "=" not in word and word != "-s"]
    for setting in settings:
        name = setting.partition("=")[0]
        assert f"$({name})" in makefile or f"origin {name}" in makefile, f"the Makefile does not read {name}"
    for target in targets or ["help"]:
        assert target in makefile_targets(), f"the Makefile has no target {target}"
        require_place(target)
    for line in dry_run(*settings, *targets):
        if line.startswith(".venv/bin/python -m "):
            check_python(shlex.split(line)[1:], ROOT, [])


def require_place(target: str) -> None:
    """Check that the place that runs a target still does."""
    if f"make {target}" in BY_HAND:
        return
    if target not in TARGETS_RUN_BY:
        raise UntestedError(f"nothing is known to run make {target}: add it to TARGETS_RUN_BY, or to BY_HAND")
    file, text = TARGETS_RUN_BY[target]
    assert text in files()[file], f"{file} does not run make {target} any more: {text!r} is not there"


@cache
def makefile_targets() -> set[str]:
    """Return the Makefile's targets."""
    return {
        target
        for line in re.findall(r"^([\w./ -]+):(?!=)", files()["Makefile"], re.MULTILINE)
        for target in line.split()
        if target != ".PHONY"
    }


@cache
def dry_run(*words: str) -> list[str]:
    """Return what make would run, one command a line."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        [*_MAKE, "--assume-old=.venv/ready", "--assume-old=.venv/helm", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", " ").splitlines()


def check_python(words: list[str], folder: Path, output: list[str]) -> None:
    """Check that a module accepts its arguments; run what needs no service, and compare its output."""
    if words[0] == "-c":
        return
    assert words[0] == "-m"
    module, *arguments = words[1:]
    if module == "cpu" and "run" in arguments and "--help" not in arguments:
        shown = _python(["-m", *words[1:]], folder)
        assert shown.returncode in (0, 1), shown.stderr
        assert not output or shown.stdout.splitlines() == output
        return
    accepted = _accepts(module, tuple(arguments))
    assert accepted.returncode == 0, f"{module} refuses its arguments: {accepted.stderr}"
    assert "accepted" in accepted.stdout or "--help" in arguments


@cache
def _accepts(module: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return _python(["-c", _PARSE, module, *arguments], ROOT)


def _python(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = ":".join(str(ROOT / folder) for folder in ("", "cpu_image", "dags/pods"))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def check_pytest(words: list[str], config: pytest.Config) -> None:
    """Check that paths and options exist, marks are registered, and a -k selects something."""
    marks = {line.partition(":")[0] for line in config.getini("markers")}
    before = ""
    for word in words:
        if before == "-m":
            named = set(re.findall(r"\w+", word)) - {"and", "or", "not"}
            assert named <= marks, f"no such marks: {named - marks}"
        elif before == "-k":
            assert any(word in text for name, text in files().items() if name.startswith("tests/faults/"))
        elif word.startswith("-") and word.strip("-"):
            config.getoption(word)  # raises ValueError where pytest and tests/conftest.py know no such option
        elif not before.startswith("--") or before == "--ignore":
            assert (ROOT / word).exists(), f"{word} does not exist"
        before = "" if word in ("-s", "-q") else word


def check_kubectl(words: list[str]) -> None:
    """Check that kubectl accepts command and options, or builds the folder; skip without kubectl."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on the PATH")
    for file in re.findall(r"custom-columns-file=(\S+)", " ".join(words)):
        assert (ROOT / file).is_file()
    tried = ["kustomize", words[words.index("-k") + 1]] if "-k" in words else [*words, "--help"]
    done = subprocess.run(["kubectl", *tried], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

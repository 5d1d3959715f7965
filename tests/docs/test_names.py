"""The files, functions, options, variables and tables in the documentation are those of the source."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cpu.result import Status
from tests.docs.documents import DOCUMENTS, ROOT, files, read, sources

GENERATED = (".venv", ".stack", ".report", ".bench", ".browser", ".chart")
FILE = re.compile(r"[\w.-]+\.(py|md|yaml|yml|toml|txt|acl|lock|css|js|html)")


def is_path(text: str) -> bool:
    """Whether a code span is a path in the repository."""
    first = text.partition("/")[0]
    return (
        re.fullmatch(r"[\w./-]+", text) is not None
        and "/" in text
        and (ROOT / first).exists()
        and bool(first)
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_it_names_exist(path: Path) -> None:
    names = {Path(name).name for name in files()}
    for place, text in read(path).spans():
        if is_path(text) and text.partition("/")[0] not in GENERATED:
            assert (ROOT / text).exists(), f"{place}: {text} does not exist"
        elif FILE.fullmatch(text):
            assert text in names, f"{place}: no file is named {text}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_functions_it_names_exist(path: Path) -> None:
    for place, text in read(path).spans():
        if call := re.fullmatch(r"(\w+)\(\)", text):
            assert re.search(rf"(def|class|function) {call[1]}\b", sources()), f"{place}: no function {text}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_variables_and_options_it_names_exist(path: Path) -> None:
    for place, text in read(path).spans():
        if re.fullmatch(r"[A-Z][A-Z0-9_]{3,}|--[a-z-]+|settings\.[A-Z_]+", text):
            name = text.removeprefix("settings.")
            derived = f'"{name[2:].replace("-", "_")}"' if name.startswith("--") else name
            assert name in sources() or derived in sources(), f"{place}: no source has {text}"


def test_the_table_of_statuses_is_complete() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(Status)


def test_every_layer_contract_is_explained() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    explained = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert explained == [contract["id"] for contract in contracts]


def test_every_setting_of_the_dags_and_of_the_stack_is_documented() -> None:
    from scripts.local.options import OPTIONS

    operations = (ROOT / "docs/operations.md").read_text()
    for option in OPTIONS:
        assert f"`{option.flag}`" in operations
        assert f"`{option.variable}`" in operations


def test_the_diagram_is_of_the_dags() -> None:
    [diagram] = [block for block in read(ROOT / "README.md").blocks if block.language == "mermaid"]
    lines = [line.strip() for line in diagram.lines]
    assert lines[0] == "flowchart LR"
    assert sum(line.startswith("subgraph ") for line in lines) == lines.count("end") == 2
    for line in lines[1:]:
        text = re.sub(r'"[^"]*"', '""', line)
        for opening, closing in ("()", "[]"):
            assert text.count(opening) == text.count(closing), line
        assert (
            line == "end"
            or re.match(r"subgraph \w+ \[.*\]$", line)
            or re.search(r"(--|==).*(-->|==>|<-->)|-->|<-->", line)
        ), line
    dags = files()["dags/cpu_start.py"] + files()["dags/cpu.py"]
    drawn = set(re.findall(r"\b[a-z][a-z_]+\b", re.sub(r'"[^"]*"|-- [^"]*? -->', " ", " ".join(lines))))
    assert drawn >= {
        "store",
        "start_cpus",
        "announce",
        "execute",
        "load",
        "next_cycle",
        "halt",
        "read",
        "notify",
    }
    for name in drawn - {"flowchart", "subgraph", "end", "notify"}:
        assert re.search(rf'task_id="{name}"|def {name}\(|dag_id="{name}"', dags), f"no task or DAG {name}"

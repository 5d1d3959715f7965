"""The project's documents, taken apart: commands, links, headings and names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "dags/pods/README.md",
]
PROGRAMS = r"(make|python|pytest|kubectl|helm|docker|\.venv/bin/\S+|\.ci/run)(?= |$)"
"""The beginning of a code span that is a command."""
_SOURCES = {".py", ".yaml", ".yml", ".toml", ".html", ".js", ".css", ".acl", ".lua"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its lines."""

    place: str
    language: str
    lines: list[str]


@dataclass(frozen=True)
class Command:
    """A command as it is typed, where it is, and the output that is shown below it."""

    place: str
    text: str
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """A Markdown file: its fenced blocks, and its text without them by line number."""

    path: Path
    blocks: list[Block]
    prose: dict[int, str]

    @property
    def name(self) -> str:
        """The path below the repository."""
        return str(self.path.relative_to(ROOT))

    def spans(self) -> Iterator[tuple[str, str]]:
        """Yield the code spans, each with its place."""
        for number, line in self.prose.items():
            for text in re.findall(r"`([^`]+)`", line):
                yield f"{self.name}:{number}", text

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield the targets of links and images, each with its place."""
        for number, line in self.prose.items():
            for target in re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]+`", "", line)):
                yield f"{self.name}:{number}", target

    def anchors(self) -> set[str]:
        """Return the anchors that GitHub gives to the headings."""
        found: list[str] = []
        for line in self.prose.values():
            if heading := re.match(r"#+ +(.*?) *#*$", line):
                text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
                anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
                seen = sum(
                    one == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", one) is not None
                    for one in found
                )
                found.append(f"{anchor}-{seen}" if seen else anchor)
        return set(found)

    def commands(self) -> Iterator[Command]:
        """Yield the commands in console blocks and in code spans."""
        for block in self.blocks:
            if block.language == "console":
                yield from _typed(block)
        for place, text in self.spans():
            if re.match(PROGRAMS, text):
                yield Command(place, text)


@cache
def read(path: Path) -> Document:
    """Parse a document."""
    blocks, prose = [], {}
    block: Block | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if fence := re.match(r" *```(\S*)$", line):
            block = None if block else Block(f"{path.relative_to(ROOT)}:{number}", fence[1], [])
            if block:
                blocks.append(block)
        elif block:
            block.lines.append(line)
        else:
            prose[number] = line
    assert block is None, f"{path} ends inside of a fenced block"
    return Document(path, blocks, prose)


def _typed(block: Block) -> Iterator[Command]:
    """Yield the commands behind the prompts of a block; a backslash at its end continues a line."""
    text = "\n".join(block.lines).replace("\\\n", " ")
    starts = [match.start() for match in re.finditer(r"^\$ ", text, re.MULTILINE)]
    assert starts[:1] == [0], f"{block.place}: a console block begins with a prompt, '$ '"
    for start, end in pairwise([*starts, len(text)]):
        command, *output = text[start + 2 : end].rstrip("\n").split("\n")
        yield Command(block.place, re.sub(" +", " ", command), output)


@cache
def files() -> dict[str, str]:
    """Return the project's files by path, without generated ones: the text of a source, "" for others."""
    found = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [one for one in folders if one not in ("node_modules", "__pycache__") and one[0] != "."]
        if Path(folder) == ROOT:
            folders.append(".ci")
        for name in names:
            path = Path(folder, name)
            is_source = path.suffix in _SOURCES or name in ("Makefile", "Dockerfile", "run", ".gitlab-ci.yml")
            found[str(path.relative_to(ROOT))] = path.read_text() if is_source else ""
    return found


@cache
def sources() -> str:
    """Return the text of all sources but these tests: where a name that a document mentions must occur."""
    return "\n".join(text for name, text in files().items() if not name.startswith("tests/docs/"))

"""The programs that come with the project: the files of ``dags/programs/``, by name.

``cpu_start``'s form and ``make demo`` offer them. A test compares each description with its file.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "programs"
BUNDLED = {
    "example": "the puzzle's example (9 lines, 5 CPUs)",
    "several": "more than one swap ends it (7 lines, 4 CPUs)",
    "fault": "jumps out of the program instead of looping (8 lines, 5 CPUs)",
    "endless": "no swap ends it (6 lines, 5 CPUs)",
    "medium": "longer, with jumps back and forth (61 lines, 25 CPUs)",
    "puzzle": "as long as the puzzle itself; choose 100 cycles per pod or more (611 lines, 230 CPUs)",
}
"""For each program's name, what is special about it, its length, and how many CPUs run it."""


def file_of(name: str) -> Path:
    """Return the file of a bundled program."""
    return FOLDER / f"{name}.txt"

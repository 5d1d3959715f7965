"""Text that Airflow's page shows unchanged, although it takes the note of a DAG run for Markdown."""

from __future__ import annotations

import re

from scripts.text import shorten, visible

LONGEST = 1000  # characters, as Airflow's column for notes
# A text of that length has runs of backticks of at most 41 different lengths, so that a fence has at most 42:
# it fits on both sides, with a blank.
LONGEST_TEXT = LONGEST - 2 * 45


def literal(text: str) -> str:
    """Return the text as a code span, in which Markdown takes nothing for an image, a link, markup or HTML.

    A line break would end the span: it becomes a space. A text that is too long for a note is cut. Returns ""
    for a blank text.
    """
    line = shorten(visible(" ".join(text.splitlines())), LONGEST_TEXT)
    # A code span ends at a run of as many backticks as it began with, so the text must have no such run.
    lengths = {len(run) for run in re.findall("`+", line)}
    fence = "`" * next(number for number in range(1, len(line) + 2) if number not in lengths)
    # Markdown strips one blank from each end if there is one at both ends.
    blank = " " if line.startswith(("`", " ")) or line.endswith(("`", " ")) else ""
    return f"{fence}{blank}{line}{blank}{fence}" if line.strip() else ""

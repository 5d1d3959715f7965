"""Text as Airflow's page shows it as it is: the page takes a run's note for Markdown."""

from __future__ import annotations

import re

from scripts.text import shorten, visible

LONGEST = 1000  # characters, as Airflow's column for notes
# A text of that length has runs of at most 41 different lengths: a fence of 42 and a blank fit on both sides.
LONGEST_TEXT = LONGEST - 2 * 45


def literal(text: str) -> str:
    """Return the text as a code span, in which Markdown knows no image, link, address, markup or HTML.

    A line break would end the span: it becomes a space. What is too long for a note is cut.
    """
    line = shorten(visible(" ".join(text.splitlines())), LONGEST_TEXT)
    # A code span ends at a run of as many backticks as it began with, so it must hold none of that length.
    taken = {len(run) for run in re.findall("`+", line)}
    fence = "`" * next(number for number in range(1, len(line) + 2) if number not in taken)
    # Markdown takes one blank off both ends where there is one at both.
    blank = " " if line.startswith(("`", " ")) or line.endswith(("`", " ")) else ""
    return f"{fence}{blank}{line}{blank}{fence}" if line.strip() else ""

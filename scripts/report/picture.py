"""The picture of a start run: draw it, or have it drawn in a task of Airflow's."""

from __future__ import annotations

import logging
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scripts.snapshot import Snapshot

# At the top nothing of matplotlib, Redis or the CPU: whoever does without pictures needs none of them.
NO_MATPLOTLIB = "matplotlib is not installed here, and draws the picture: pip install matplotlib"
DOTS_PER_INCH = 110
DRAWING = Lock()
"""Matplotlib is not made for threads."""

log = logging.getLogger(__name__)


def draw(run: Snapshot, kind: Literal["svg", "png"]) -> bytes:
    """The file: the same for the same run. Raises ImportError where there is no matplotlib."""
    import matplotlib as mpl

    from scripts.report.figure import figure

    with DRAWING:
        # Text stays text; names inside of the file do not depend on chance; $ is no formula.
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": run.start, "text.parse_math": False})
        file = BytesIO()
        undated = {"Date": None} if kind == "svg" else {}
        figure(run).savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
    return file.getvalue()


def png_of(start: str) -> bytes | None:
    """The picture of a start run as it is now, for a task in a worker; None where it cannot be had.

    Raises nothing: no task shall fail for want of a picture. Why there is none is in the log.
    """
    try:
        return draw(_look(start), "png")
    except Exception as error:
        log.warning("There is no picture of start run %s: %s", start, _why(error))
        return None


def _look(start: str) -> Snapshot:
    """The start run as it is now, from the Redis that an Airflow connection leads to."""
    from cpu.redis_client import with_retries
    from scripts import snapshot
    from scripts.redis_connection import redis_url

    return with_retries(redis_url(), lambda client: snapshot.snapshot(client, start))


def _why(error: Exception) -> str:
    """In one sentence with the remedy, and without what could hold a password."""
    if isinstance(error, ImportError):
        missing = (error.name or "").partition(".")[0]
        return NO_MATPLOTLIB if missing == "matplotlib" else f"{missing} cannot be imported: install it here"
    if type(error).__module__ in ("cpu.errors", "scripts.redis_connection", "scripts.snapshot"):
        return str(error).replace("REDIS_URL", "the Airflow connection redis_cpu")
    return f"{type(error).__name__}, which is unexpected"

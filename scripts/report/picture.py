"""The picture of a start run as a file: rendered from a snapshot, or for a task of Airflow's."""

from __future__ import annotations

import logging
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scripts.snapshot import Snapshot

# No matplotlib, Redis or CPU is imported at the top: a task that needs no picture does not pay for them.
NO_MATPLOTLIB = "matplotlib is not installed here, and draws the picture: pip install matplotlib"
DOTS_PER_INCH = 110
MATPLOTLIB = Lock()
"""Held while drawing: matplotlib is not thread-safe."""

log = logging.getLogger(__name__)


def render(snapshot: Snapshot, kind: Literal["svg", "png"]) -> bytes:
    """Return the content of the file, which is the same for the same snapshot.

    Raises ImportError if matplotlib is not installed.
    """
    import matplotlib as mpl

    from scripts.report.figure import build_figure

    with MATPLOTLIB:
        # Text stays text, the ids in the file are the same each time, and $ begins no formula.
        mpl.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": snapshot.start, "text.parse_math": False}
        )
        file = BytesIO()
        undated = {"Date": None} if kind == "svg" else {}
        build_figure(snapshot).savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
    return file.getvalue()


def png_or_none(start: str) -> bytes | None:
    """Return the picture of a start run at this moment, for a task; None if there is none.

    Raises nothing, as no task may fail because of a picture; the log says why there is none.
    """
    try:
        return render(_take_snapshot(start), "png")
    except Exception as error:
        log.warning("There is no picture of start run %s: %s", start, _reason(error))
        return None


def _take_snapshot(start: str) -> Snapshot:
    """Read the start run from the Redis that the Airflow connection leads to."""
    from cpu.redis_client import with_retries
    from scripts.redis_connection import redis_url
    from scripts.snapshot import take_snapshot

    return with_retries(redis_url(), lambda client: take_snapshot(client, start))


def _reason(error: Exception) -> str:
    """Return one sentence with the remedy, and without anything that may hold a password."""
    if isinstance(error, ImportError):
        missing = (error.name or "").partition(".")[0]
        return NO_MATPLOTLIB if missing == "matplotlib" else f"{missing} cannot be imported: install it here"
    if type(error).__module__ in ("cpu.errors", "scripts.redis_connection", "scripts.snapshot"):
        return str(error).replace("REDIS_URL", "the Airflow connection redis_cpu")
    return f"{type(error).__name__}, which is unexpected"

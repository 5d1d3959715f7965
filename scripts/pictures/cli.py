"""The command line: a stack of its own, a program on it, and the pictures that a browser takes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.airflow_api import Api
from scripts.bench.stacks import temporary_stack
from scripts.local.demo import read_redis
from scripts.local.demo_run import DemoError, DemoRun
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import REPOSITORY
from scripts.pictures.animation import Unsuitable, write_animation, write_still
from scripts.pictures.browser import NoBrowser, chromium
from scripts.pictures.wall import WallPages

FOLDER = REPOSITORY / "docs" / "pictures"
FAILED = 1


def main(arguments: Sequence[str]) -> int:
    """Make the pictures and print their names; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.pictures",
        description="Make the pictures of README and docs anew, from a stack that is started for them. "
        "Needs Chromium and ChromeDriver.",
        epilog="exit code: 0 success, 1 failure (standard error says why), 130 interrupted",
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where to write them (default: docs/pictures)"
    )
    parser.add_argument("--program", default="medium", help="the bundled program that runs (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        for path in make_pictures(options.folder, options.program):
            print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")
    except (NoBrowser, Unsuitable, DemoError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def make_pictures(folder: Path, program: str) -> list[Path]:
    """Run a program on a stack of its own, and write a picture of each kind; return their paths.

    Raises NoBrowser, Unsuitable or DemoError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    animation, still, detail = folder / "wall.webp", folder / "wall.png", folder / "cpu.png"
    with (
        tempfile.TemporaryDirectory() as profile,
        chromium(Path(profile)) as window,
        temporary_stack("--cpus-at-once=32") as settings,
    ):
        secrets = passwords(settings.state)
        pages = WallPages(window, settings.ui_url)
        pages.log_in(ADMIN, secrets.admin)
        with Api(settings.api_url, ADMIN, secrets.admin) as api:
            run = DemoRun.trigger(api, {"bundled": program, "cycles": 1})
            frames = pages.watch(run)
        answer = read_redis(run, url_for_pods(settings, secrets)).facts.answer
        write_still(pages.open_cpu(run.start, answer or 0), detail)
    write_still(frames[-1], still)
    write_animation(frames, animation)
    return [animation, still, detail]

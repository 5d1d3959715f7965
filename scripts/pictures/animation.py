"""Make an animation, or a still, of screenshots."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops

LARGEST_BYTES = 2_000_000
SECONDS = 12.0
"""How long the animation takes, however long the run took."""
LAST_SECONDS = 4.0
"""How long its last frame stays, before it begins again."""
SHORTEST_SECONDS = 0.1
SIZES = ((72, 85), (72, 70), (72, 55), (72, 40), (48, 40), (32, 40), (20, 40))
"""The most frames and WebP's quality, in the order in which they are tried until the file is small enough."""


class Unsuitable(Exception):
    """The screenshots make no animation; the text says why."""


@dataclass(frozen=True)
class Frame:
    """A screenshot as a PNG file, and when it was taken, in seconds by any clock."""

    png: bytes
    taken: float


def write_animation(frames: Sequence[Frame], path: Path, *, seconds: float = SECONDS) -> None:
    """Write an animated WebP that shows the frames as they followed one another, in so many seconds.

    Raises Unsuitable if nothing moves, or if the file would be larger than LARGEST_BYTES.
    """
    moving = _without_repetitions(frames)
    if len(moving) < 2:
        raise Unsuitable("nothing moves: all screenshots are the same")
    for most, quality in SIZES:
        kept = _spread(moving, most)
        images = [_image(frame) for frame in kept]
        encoded = io.BytesIO()
        images[0].save(
            encoded,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=durations(kept, seconds),
            loop=0,
            quality=quality,
            method=4,
        )
        if encoded.tell() <= LARGEST_BYTES:
            path.write_bytes(encoded.getvalue())
            return
    raise Unsuitable(f"the animation has {encoded.tell()} bytes: no more than {LARGEST_BYTES} are allowed")


def write_still(frame: Frame, path: Path) -> None:
    """Write a screenshot as a PNG of up to 256 colours."""
    _image(frame).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, "PNG", optimize=True
    )


def durations(frames: Sequence[Frame], seconds: float) -> list[int]:
    """Return how many milliseconds each frame is shown: as long as it was true, at another speed."""
    times = [frame.taken for frame in frames]
    speed = seconds / max(times[-1] - times[0], SHORTEST_SECONDS)
    shown = [max(SHORTEST_SECONDS, (after - before) * speed) for before, after in pairwise(times)]
    return [round(1000 * one) for one in (*shown, LAST_SECONDS)]


def _without_repetitions(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames that differ from the one before."""
    kept: list[Frame] = []
    before: Image.Image | None = None
    for frame in frames:
        image = _image(frame)
        if before is None or ImageChops.difference(before, image).getbbox():
            kept.append(frame)
        before = image
    return kept


def _spread(frames: Sequence[Frame], most: int) -> list[Frame]:
    """Return at most so many of the frames, evenly chosen, with the first and the last one."""
    if len(frames) <= most:
        return list(frames)
    step = (len(frames) - 1) / (most - 1)
    return [frames[round(number * step)] for number in range(most)]


def _image(frame: Frame) -> Image.Image:
    return Image.open(io.BytesIO(frame.png)).convert("RGB")

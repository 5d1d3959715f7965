"""The pictures that are made of screenshots."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from scripts.pictures import animation, cli
from scripts.pictures.animation import Frame, Unsuitable, durations, write_animation, write_still


def frame(level: int, taken: float) -> Frame:
    """Return a screenshot of an even grey."""
    return png(Image.new("L", (64, 40), level), taken)


def png(image: Image.Image, taken: float) -> Frame:
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return Frame(encoded.getvalue(), taken)


def test_animation_shows_each_screenshot_that_differs_from_the_one_before(tmp_path: Path) -> None:
    levels = [255, 255, 0, 0, 255]
    write_animation([frame(level, at) for at, level in enumerate(levels)], tmp_path / "a.webp", seconds=4)
    with Image.open(tmp_path / "a.webp") as written:
        assert (written.size, written.info["loop"]) == ((64, 40), 0)
        shown, milliseconds = [], []
        for one in ImageSequence.Iterator(written):
            shown.append(sum(one.convert("L").tobytes()) / (64 * 40))
            milliseconds.append(one.info["duration"])
    assert shown == pytest.approx([255, 0, 255], abs=8)
    assert milliseconds == [2000, 2000, 1000 * animation.LAST_SECONDS]


def test_frames_are_shown_in_proportion_to_the_time_between_them() -> None:
    frames = [frame(255, at) for at in (100.0, 110.0, 140.0)]
    assert durations(frames, seconds=4) == [1000, 3000, 1000 * animation.LAST_SECONDS]


def test_animation_of_a_long_run_keeps_its_first_and_its_last_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "SIZES", ((4, 85),))
    write_animation([frame(10 * at, at) for at in range(21)], tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as written:
        means = [sum(one.convert("L").tobytes()) / (64 * 40) for one in ImageSequence.Iterator(written)]
    assert means == pytest.approx([0, 70, 130, 200], abs=8)


def test_no_animation_is_written_if_nothing_moves(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="nothing moves"):
        write_animation([frame(255, 0), frame(255, 1)], tmp_path / "a.webp")
    assert not any(tmp_path.iterdir())


def noise(frames: int) -> list[Frame]:
    """Return screenshots that can hardly be compressed."""
    images = [
        Image.frombytes("L", (200, 200), random.Random(seed).randbytes(40_000)) for seed in range(frames)
    ]
    return [png(image, at) for at, image in enumerate(images)]


def test_animation_that_is_too_large_at_every_quality_has_fewer_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_animation(noise(40), tmp_path / "all.webp")
    limit = (tmp_path / "all.webp").stat().st_size // 2
    monkeypatch.setattr(animation, "LARGEST_BYTES", limit)
    write_animation(noise(40), tmp_path / "fewer.webp")
    assert (tmp_path / "fewer.webp").stat().st_size <= limit
    with Image.open(tmp_path / "fewer.webp") as written:
        assert getattr(written, "n_frames", 1) < 40


def test_no_animation_is_written_if_it_is_too_large_at_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "LARGEST_BYTES", 3000)
    with pytest.raises(Unsuitable, match="no more than 3000 are allowed"):
        write_animation(noise(2), tmp_path / "a.webp")
    assert not any(tmp_path.iterdir())


def test_still_is_a_png_of_the_same_size(tmp_path: Path) -> None:
    write_still(frame(200, 0), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert (written.format, written.size) == ("PNG", (64, 40))
        assert written.convert("L").getpixel((0, 0)) == 200


def test_without_chromium_the_command_says_what_to_install_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert cli.main(["--folder", str(tmp_path / "pictures")]) == 1
    assert capsys.readouterr().err == (
        "error: Chromium and ChromeDriver are needed: apt-get install chromium chromium-driver\n"
    )

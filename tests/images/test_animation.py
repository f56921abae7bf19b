from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.errors import SettingsError
from dltool.images.animation import Animation, write_animation
from dltool.images.read import read_frames

TIMES = (100, 100, 400, 100, 700)


def _frames() -> list[np.ndarray]:
    """A bright square on a dark ground that walks to the right."""
    frames = [np.full((24, 32, 3), (20, 40, 90), np.uint8) for _ in TIMES]
    for index, frame in enumerate(frames):
        frame[8:16, 5 * index : 5 * index + 8] = (240, 200, 60)
    return frames


def _alphas() -> list[np.ndarray]:
    """What is seen: a window that walks to the left."""
    alphas = [np.zeros((24, 32), np.uint8) for _ in TIMES]
    for index, alpha in enumerate(alphas):
        alpha[4:20, 16 - 4 * index : 28 - 4 * index] = 255
    return alphas


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng", ".webp"])
@pytest.mark.parametrize("transparent", [False, True])
def test_times_loop_and_transparency_come_back(tmp_path: Path, suffix: str, transparent: bool):
    frames, alphas = _frames(), _alphas() if transparent else [None] * len(TIMES)
    write_animation(tmp_path / f"a{suffix}", Animation(frames, alphas, TIMES, 3))
    read, seconds = read_frames(tmp_path / f"a{suffix}")
    assert (read.milliseconds, read.loop, seconds) == (TIMES, 3, pytest.approx(0.28))
    for frame, alpha, back in zip(frames, alphas, read.with_alpha(), strict=True):
        if not transparent:
            assert back.alpha is None or back.alpha.min() == 255
            assert np.abs(back.pixels.astype(int) - frame).mean() < 4
            continue
        assert np.array_equal(back.alpha, alpha)
        assert np.median(np.abs(back.pixels[alpha > 0].astype(int) - frame[alpha > 0])) < 4, "but for WebP's edges"


@pytest.mark.parametrize(("suffix", "loop"), [(".gif", None), (".png", 1), (".webp", 1)])
def test_what_is_not_repeated_stays_so(tmp_path: Path, suffix: str, loop: int | None):
    write_animation(tmp_path / f"a{suffix}", Animation(_frames(), [None] * 5, TIMES, None))
    assert read_frames(tmp_path / f"a{suffix}")[0].loop == loop


def test_a_png_s_image_for_other_programs_is_no_frame(tmp_path: Path):
    images = [Image.new("RGB", (8, 8), (50 * index, 0, 0)) for index in range(4)]
    times = [30, 40, 50]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True, duration=times)
    read, _ = read_frames(tmp_path / "a.png")
    assert read.milliseconds == (30, 40, 50)
    assert [int(frame[0, 0, 0]) for frame in read] == [50, 100, 150]
    assert read[2][0, 0, 0] == 150


def test_other_kinds_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"a\.jpg: no animation .*\.gif, \.png"):
        write_animation(tmp_path / "a.jpg", Animation(_frames(), [None] * 5, TIMES))

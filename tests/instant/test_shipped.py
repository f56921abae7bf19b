"""The styles that come with dltool."""

from pathlib import Path

import numpy as np
import pytest

from dltool.images.read import read_image
from dltool.instant.settings import SHIPPED_STYLES
from dltool.instant.style_file import blend, load_style
from tests.cli.run import run_inside

NAMES = ("autumn_field", "bold_shapes", "night_swirls", "sea_storm")


def test_four_small_files_of_one_training_are_there() -> None:
    files = sorted(SHIPPED_STYLES.iterdir())
    assert [file.stem for file in files] == list(NAMES) and sum(file.stat().st_size for file in files) < 3_000_000
    assert blend([(load_style(file), 1.0) for file in files]).name == "+".join(NAMES)


def test_they_are_found_by_name_and_their_strokes_and_colours_are_seen(
    sample_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = sample_images / "photos" / "china.jpg"
    means = []
    for name in ("night_swirls", "bold_shapes:2"):
        style = f"{name.split(':')[0]}.safetensors" + (":2" if ":" in name else "")
        assert run_inside("stylize", photo, "-s", style, "--size", 128, "-o", "out.png", "--overwrite").exit_code == 0
        means.append(read_image("out.png").pixels.reshape(-1, 3).mean(0))
    blue, bold = means
    assert blue[2] > blue[0] and np.abs(blue - bold).max() > 15
    done = run_inside("stylize", photo, "-s", "day_swirls.safetensors", "-o", "out.png", "--overwrite")
    assert done.exit_code == 3 and "day_swirls.safetensors: no such file" in done.stderr

"""Images of any size and shape go through autoencoders and what is made of them, by the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.autoencoder.data import ImageData, load_images
from dltool.autoencoder.settings import AeSettings
from dltool.events import finish
from tests.cli.run import run_inside
from tests.gan.test_sizes import write_images

PLACE = ("--device", "cpu", "--threads", 1)


@pytest.mark.parametrize(
    ("options", "size", "mode", "typed"),
    [
        (("--arch", "conv"), (40, 24), "RGB", "40x24"),
        (("--arch", "stacked"), (24, 40), "L", "24x40"),
        (("--arch", "conv", "--variational"), (40, 24), "RGBA", None),
        (("--arch", "stacked", "--variational"), (16, 16), "RGB", None),
    ],
)
def test_every_network_takes_the_shape_and_so_does_what_follows(
    options: tuple[str, ...], size: tuple[int, int], mode: str, typed: str | None, tmp_path: Path
) -> None:
    data, run, sheet = tmp_path / "data", tmp_path / "run", tmp_path / "sheet.png"
    write_images(data, 24, (50, 50) if typed else size, mode)
    words = ("ae", "train", data, "-o", run, *options, "--latent-dim", 4, "--epochs", 1, "--no-page", *PLACE)
    trained = run_inside(*words, *(("--size", typed) if typed else ()), "--json")
    document = json.loads(trained.stdout)
    shape = [document["arguments"][name] for name in ("in_channels", "height", "width")]
    assert shape == [1 if mode == "L" else 3, size[1], size[0]], trained.output
    assert document["settings"]["size"] == (list(size) if typed else None)
    assert f"{size[0]}x{size[1]} pixels" in trained.stderr
    names = ("--csv", tmp_path / "errors.csv", "--latents", tmp_path / "codes.npy")
    back = run_inside("ae", "reconstruct", run, data, "-o", sheet, "--limit", 4, *names, *PLACE)
    assert back.exit_code == 0 and np.load(tmp_path / "codes.npy").shape == (4, 4), back.output
    if "--variational" in options:
        drawn = run_inside("ae", "sample", run, "-o", tmp_path / "new.png", "-n", 1, "--scale", 1, *PLACE)
        with Image.open(tmp_path / "new.png") as image:
            assert drawn.exit_code == 0 and image.size == (size[0] + 4, size[1] + 4)
    maps = run_inside("featmap", data / "0.png", "-o", tmp_path / "maps", "--model", run, "--no-page", *PLACE)
    assert maps.exit_code == 0, maps.output
    exported = run_inside("export", run, "-o", tmp_path / "model.onnx", "--json")
    assert exported.exit_code == 0, exported.output
    assert [*shape[1:]] == json.loads(exported.stdout)["inputs"]["images"]["shape"][2:]


def test_by_itself_it_is_the_size_that_fits_most_and_that_is_said(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 12, (160, 96), "RGB")
    write_images(tmp_path / "photos" / "more", 1, (90, 90), "RGB")
    loaded = finish(load_images(ImageData(str(tmp_path / "photos")), 0, settings=AeSettings()))
    assert loaded.size == (40, 64)
    assert loaded.notes[-1] == "scaled and cut to 64x40 pixels, which fits 12 of 13 images; --size takes another"
    train = loaded.splits["train"]
    assert {train.pixels(index).shape for index in range(len(train))} == {(40, 64, 3)}
    write_images(tmp_path / "small", 5, (50, 30), "L")  # no multiples of 8, and nothing to gain from such
    alike = finish(load_images(ImageData(str(tmp_path / "small")), 0, settings=AeSettings()))
    assert (alike.size, alike.notes) == ((30, 50), ())

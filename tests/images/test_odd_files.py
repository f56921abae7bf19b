"""Files that are crafted, huge, or no files at all take little memory and are named in one line."""

import os
import socket
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.backbones.preprocessing import Preprocessing
from dltool.errors import DataError, DeviceError
from dltool.files import printable
from dltool.images.read import read_frames, read_image


def _peak(path: Path) -> float:
    """The most bytes a pixel that Python objects take while an image is decoded; Pillow's own are not among them."""
    tracemalloc.start()
    try:
        image = read_image(path)
        return tracemalloc.get_traced_memory()[1] / image.pixels[..., 0].size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["rgb", "rgba", "palette", "grey16", "float", "profile"])
def test_decoding_takes_at_most_8_bytes_a_pixel_beside_pillow(tmp_path: Path, kind: str):
    side = 2400
    ramp = np.add.outer(np.arange(side), np.arange(side))
    image = Image.fromarray(np.dstack([ramp % 256, ramp // 7 % 256, ramp // 3 % 256]).astype(np.uint8))
    file, extra = tmp_path / "a.png", {}
    if kind == "rgba":
        image.putalpha(Image.fromarray((ramp % 256).astype(np.uint8)))
    elif kind == "palette":
        image, extra = image.quantize(64, method=Image.Quantize.FASTOCTREE), {"transparency": bytes(range(0, 256, 4))}
    elif kind == "grey16":
        image = Image.fromarray((9 * ramp).astype(np.uint16))
    elif kind == "float":
        image, file = Image.fromarray((ramp / 5000).astype(np.float32)), tmp_path / "a.tif"
    elif kind == "profile":
        file = tmp_path / "a.jpg"
        extra = {"icc_profile": _own_profile()}
    image.save(file, **extra)
    del image, ramp
    assert _peak(file) < 8


def _own_profile() -> bytes:
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile).replace(b"sRGB", b"mine").replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))


@pytest.mark.parametrize("size", [(65000, 2), (1, 10000), (10000, 1)])
def test_an_extreme_shape_costs_what_a_square_does(size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    preprocessing = Preprocessing()
    tracemalloc.start()
    cropped = preprocessing.crop_pixels(pixels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cropped.shape == (224, 224, 3)
    assert most < 16e6
    assert (
        preprocessing.scale_pixels(preprocessing.scale_pixels(pixels)).shape == preprocessing.scale_pixels(pixels).shape
    )


@pytest.mark.parametrize("size", [(1301, 200), (200, 1303), (1500, 100)])
def test_the_middle_of_a_long_image_is_what_scaling_it_whole_gives(size: tuple[int, int]):
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0]))
    pixels = np.dstack([ramp % 256, ramp // 7 % 256, 128 + 100 * np.sin(ramp / 9)]).astype(np.uint8)
    short = min(size)
    whole = Image.fromarray(pixels).resize(tuple(int(side * 64 / short) for side in size), Image.Resampling.BILINEAR)
    left, top = (round((side - 56) / 2) for side in whole.size)
    expected = np.asarray(whole.crop((left, top, left + 56, top + 56))).astype(int)
    seen = Preprocessing(resize=64, crop=56).crop_pixels(pixels).astype(int)
    assert np.abs(seen - expected).max() <= 1


def test_frames_of_an_animation_are_not_kept(tmp_path: Path):
    frames = [Image.new("RGB", (600, 400), (value, 0, 0)) for value in range(0, 240, 6)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    tracemalloc.start()
    read, seconds = read_frames(tmp_path / "a.gif")
    reds = [int(frame[0, 0, 0]) for frame in read]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(read), seconds) == (40, 0.05)
    np.testing.assert_allclose(reds, range(0, 240, 6), atol=3)
    assert most < 8 * 600 * 400 * 3
    assert abs(int(read[-1][0, 0, 0]) - 234) <= 3


def test_postscript_starts_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from PIL import EpsImagePlugin

    def start(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was asked for")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not a picture that can be read"):
        read_image(tmp_path / "a.jpg")


def test_what_is_no_regular_file_is_named_before_it_is_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        listening.bind("socket.png")
        os.chdir(here)
        for name, message in (
            ("pipe.png", "not a regular file"),
            ("zero.png", "not a regular file"),
            ("socket.png", "not a regular file"),
            ("loop.png", "a link that leads back to itself"),
            ("gone.png", "a link to nothing"),
            ("n" * 300 + ".png", "a name longer than this disk allows"),
        ):
            with pytest.raises(DataError) as caught:
                read_image(tmp_path / name)
            assert str(caught.value) == f"{tmp_path / name}: {message}"


def test_the_budget_for_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A TIFF of doubles whose header claims more than is there is refused by what it would take."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 3)), photometric="rgb")
    content = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        places = [file.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for place in places:
        content = content[:place] + (9000).to_bytes(2, "little") + content[place + 2 :]
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif: 9000 x 9000 pixels take 3\.9 GB to decode, more than 2 GB"):
        read_image(tmp_path / "a.tif")


def test_a_name_is_escaped_for_a_terminal():
    assert printable("a\x1b[31m\nb\t.png") == r"a\x1b[31m\nb\t.png"
    assert printable(os.fsdecode(b"b\xff.png")) == r"b\udcff.png"
    assert printable("Köln 東京.png") == "Köln 東京.png"


def test_an_image_for_which_the_memory_does_not_suffice_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")

    def fail(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(DeviceError, match=r"a\.png: out of memory while it was decoded"):
        read_image(tmp_path / "a.png")

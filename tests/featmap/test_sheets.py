"""Pages: the right channels, in the right order and colours; settings as typed."""

import numpy as np
import pytest

from dltool.errors import SettingsError
from dltool.featmap.activations import FeatureMap
from dltool.featmap.layers import Kind
from dltool.featmap.manifest import note_entries, read_entries, write_manifest
from dltool.featmap.methods import Heat, for_display
from dltool.featmap.pages import Explanation, shown_maps
from dltool.featmap.settings import Channels, MapSettings, Method, Scale, WhySettings, parse_methods, read_channels
from dltool.featmap.sheets import (
    channel_tiles,
    choose_channels,
    depth_frames,
    layer_sheets,
    overview_sheets,
    vector_tile,
)
from dltool.featmap.targets import Target, find_class
from dltool.images.colormap import color_table, colorize, overlay
from tests.featmap.networks import RedMinusBlue, wrap


def feature(channels: int = 6, side: int = 4) -> FeatureMap:
    values = np.random.default_rng(0).standard_normal((channels, side, side)).astype(np.float32)
    return FeatureMap("conv", Kind.MAP, values * np.arange(1, channels + 1)[:, None, None])


def test_strongest_channels_come_first() -> None:
    one = FeatureMap("conv", Kind.MAP, np.ones((6, 4, 4), np.float32) * np.arange(6)[:, None, None])
    one.values[2] = -100
    assert choose_channels(one, Channels(2)) == [2, 5]
    assert choose_channels(one, Channels(None))[0] == 2
    assert len(choose_channels(one, Channels(None))) == 6
    assert choose_channels(one, Channels(indices=(4, 0))) == [4, 0]
    with pytest.raises(SettingsError, match="--channels 6: layer conv has channels 0 to 5"):
        choose_channels(one, Channels(indices=(6,)))


def test_scales() -> None:
    one = feature()
    low, high = color_table("viridis")[0], color_table("viridis")[-1]
    for tile in channel_tiles(one, range(6), MapSettings(scale=Scale.EACH)):
        assert (tile.pixels == low).all(2).any()
        assert (tile.pixels == high).all(2).any()
    common = [tile.pixels for tile in channel_tiles(one, range(6), MapSettings(scale=Scale.SHARED))]
    assert sum((pixels == high).all(2).sum() for pixels in common) == 1


def test_pages_of_maps_vectors_and_flat_channels() -> None:
    image = np.full((32, 32, 3), 200, np.uint8)
    flat = FeatureMap("dead", Kind.MAP, np.zeros((3, 2, 2), np.float32))
    vector = FeatureMap("head", Kind.VECTOR, np.arange(10, dtype=np.float32)[:, None, None])
    for one in (feature(), flat, vector):
        (page,) = layer_sheets(one, image, "x.png", MapSettings())
        assert page.dtype == np.uint8
        assert page.shape[2] == 3
    (page,) = overview_sheets([feature(), flat, vector], image, "x.png", [("cat", 0.5)], MapSettings())
    assert page.shape[2] == 3
    frames = depth_frames([feature(20), flat, vector], image, "x.png", MapSettings())
    assert len(frames) == 2
    assert frames[0].shape == frames[1].shape
    tile = vector_tile(vector, "viridis")
    assert tile.pixels.shape == (3, 4, 3)
    assert (tile.pixels[0, 0] == color_table("viridis")[0]).all()
    assert (tile.pixels[2, 1] == color_table("viridis")[-1]).all()
    assert (tile.pixels[2, 2] == 255).all()


def test_sixteen_channels_are_four_by_four() -> None:
    (page,) = layer_sheets(feature(64), np.zeros((100, 100, 3), np.uint8), "cat.jpg", MapSettings())
    # Cells are what lies between background columns and rows, right of the image and below the title.
    grid = page[40:, 245:] != np.array([250, 250, 250], np.uint8)
    columns = np.flatnonzero(np.diff(grid[60].any(1).astype(int), prepend=0, append=0))
    assert len(columns) == 8


def test_overlay_and_colors() -> None:
    pixels = np.full((2, 2, 3), 100, np.uint8)
    values = np.array([[0.0, 1.0], [np.nan, 2.0]])
    assert (overlay(pixels, values, "turbo", 0.0) == pixels).all()
    assert (overlay(pixels, values, "turbo", 1.0) == colorize(values, "turbo")).all()
    assert (colorize(values, "turbo")[1, 0] == color_table("turbo")[0]).all()
    with pytest.raises(SettingsError, match="--colormap virids: no such colour map; did you mean 'viridis'"):
        color_table("virids")


def test_long_pages_are_cut_into_several() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    pages = layer_sheets(feature(600), image, "x.png", MapSettings(channels=Channels(None)))
    assert len(pages) == 3
    assert all(page.shape[0] <= 2400 + 40 and page.shape[1] < 2400 for page in pages)
    pages = overview_sheets([feature()] * 40, image, "x.png", [], MapSettings())
    assert sum(page.shape[0] for page in pages) > 4000 and all(page.shape[0] <= 2400 for page in pages)


def test_channels_that_differ_by_rounding_alone_are_flat_and_last() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 4, 4)).astype(np.float32)
    values[0] = 100 * (1 + 1e-7 * values[0])  # the largest, but for rounding the same everywhere
    values[2] = -2 - np.abs(values[2])
    one = FeatureMap("conv", Kind.MAP, values)
    assert choose_channels(one, Channels(3)) == [2, 1, 0]
    settings = MapSettings(scale=Scale.EACH)
    even, _, negative = channel_tiles(one, range(3), settings)
    assert len(np.unique(even.pixels.reshape(-1, 3), axis=0)) == 1
    assert (even.label, negative.label) == ("0, the same everywhere", "2, all negative")


def explanation(values: np.ndarray, index: int, probability: float, best: float) -> Explanation:
    return Explanation(Heat(Method.OCCLUSION, Target(index), np.float32(values)), "a class", probability, best)


def test_display_of_heat() -> None:
    signed = np.array([[-1.0, 0.5], [2.0, 0.0]], np.float32)
    values, top = for_display(Heat(Method.OCCLUSION, Target(0), signed))
    np.testing.assert_allclose(values, [[0, 0.5], [2, 0]])
    assert top == 2
    even = np.float32([[5, 5], [5, 5 + 1e-6]])
    assert for_display(Heat(Method.GRADCAM, Target(0), even))[0].max() == 0


def test_maps_of_one_method_share_a_scale_and_count_by_probability() -> None:
    signed = np.array([[-1.0, 0.5], [2.0, 0.0]])
    several = [
        explanation(signed, 0, 0.4, 0.4),
        explanation(2 * signed, 1, 0.1, 0.4),
        explanation(signed, 2, 1e-5, 0.4),
    ]
    first, second, third = shown_maps(several, WhySettings())
    assert {map_.scale.high for map_ in (first, second, third)} == {4}
    np.testing.assert_allclose(first.values, [[0, 0.5], [2, 0]])
    np.testing.assert_allclose(second.values, first.values / 2)
    assert (first.remark, second.remark, third.remark) == ("", "", "next to nothing")
    grey = np.full((2, 2, 3), 90, np.uint8)
    nothing = overlay(grey, np.zeros((2, 2)), "turbo", 0.5)
    assert np.array_equal(third.over(grey, 0.5), nothing) and not np.array_equal(first.over(grey, 0.5), nothing)
    alone = shown_maps(several, WhySettings(scale=Scale.EACH))
    assert [map_.scale.high for map_ in alone] == [2, 4, 2] and alone[2].remark == ""
    assert shown_maps([explanation(signed - 3, 0, 1, 1)], WhySettings())[0].remark == "all negative"
    assert shown_maps([explanation(0 * signed, 0, 1, 1)], WhySettings())[0].remark == "nothing speaks for it"


def test_settings_as_typed() -> None:
    assert read_channels("16") == Channels(16)
    assert read_channels("all") == Channels(None)
    assert read_channels("3, 7,12") == Channels(indices=(3, 7, 12))
    assert read_channels("5,") == Channels(indices=(5,))
    for text in ("x", "0", "-1", "", "3;4"):
        with pytest.raises(ValueError, match=r"give a number of channels|at least 1 is needed"):
            read_channels(text)
    assert parse_methods(["gradcam,saliency", "gradcam"]) == (Method.GRADCAM, Method.SALIENCY)
    assert parse_methods(["all"]) == tuple(Method)
    with pytest.raises(SettingsError, match="did you mean 'scorecam'"):
        parse_methods(["scorcam"])
    with pytest.raises(SettingsError, match="--contrast: exactly two"):
        WhySettings(contrast=True, classes=("a",))


def test_classes_by_name_and_number() -> None:
    network = wrap(RedMinusBlue(), classes=("tabby", "tiger cat", "crane", "crane", "oystercatcher"))
    assert find_class(network, "1", 5) == 1
    assert find_class(network, "Tabby", 5) == 0
    assert find_class(network, "cat", 5) == 1  # a whole word before a part of one
    assert find_class(network, "oyster", 5) == 4
    with pytest.raises(SettingsError, match=r"several classes, crane \(2\), crane \(3\)"):
        find_class(network, "crane", 5)
    with pytest.raises(SettingsError, match="did you mean 'tabby'"):
        find_class(network, "taby", 5)
    with pytest.raises(SettingsError, match="classes are 0 to 4"):
        find_class(network, "5", 5)


def test_manifest_keeps_what_an_earlier_run_wrote(tmp_path) -> None:
    path = tmp_path / "manifest.json"
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
        write_manifest(path, {"network": "n"}, [{"output": tmp_path / name, "input": None, "kind": "maps"}])
    write_manifest(path, {"network": "m"}, [{"output": tmp_path / "b.png", "input": None, "kind": "maps"}])
    text = path.read_text()
    assert text.count("a.png") == text.count("b.png") == 1
    assert '"m"' in text
    assert '"n"' in text


def test_entries_of_a_run_that_was_killed_are_in_the_next_ones_manifest(tmp_path) -> None:
    path = tmp_path / "manifest.json"
    first, second, gone = ({"output": tmp_path / name, "input": None} for name in ("a.png", "b.png", "c.png"))
    note_entries(path, {"network": "n"}, [first])
    note_entries(path, {"network": "n"}, [gone])  # killed before the file was written
    with (tmp_path / ".manifest.jsonl").open("a") as file:
        file.write('{"output": "cut sho')
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    write_manifest(path, {}, [])
    assert [entry["output"] for entry in read_entries(path)] == [str(tmp_path / "a.png")]
    write_manifest(path, {"network": "n"}, [second])
    assert [entry["output"] for entry in read_entries(path)] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "manifest.json"]

"""What the network sees of an image: whole, by a slid square, or its centre's square."""

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.events import finish
from dltool.featmap.methods import explain
from dltool.featmap.settings import Fit, Method, WhySettings
from dltool.featmap.targets import Target
from dltool.featmap.view import look_at, read_view, usable_fit
from tests.featmap.networks import RedMinusBlue, untrained, wrap


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("shape", "seen"), [((200, 300), (64, 96)), ((300, 200), (96, 64)), ((9, 9000), (64, 256))])
def test_the_network_sees_all_of_an_image_at_its_own_shape(shape, seen) -> None:
    pixels = photo(*shape)
    view = look_at(wrap(RedMinusBlue(), 64), pixels, Fit.WHOLE)
    assert view.seen.shape == (1, *seen, 3) and view.size == seen
    assert view.pixels is pixels
    assert np.abs(view.seen.mean() - pixels.mean()) < 2


def test_large_photos_wait_as_what_the_network_sees_and_are_read_again(tmp_path) -> None:
    network = wrap(RedMinusBlue(), 64)
    for height, waits in ((900, False), (1500, True)):
        pixels = np.zeros((height, 2000, 3), np.uint8)
        pixels[:, 1000:] = 200
        Image.fromarray(pixels).save(tmp_path / "large.png")
        view = read_view(network, Fit.WHOLE, tmp_path / "large.png")
        assert (view.pixels.shape[:2] == view.size) is waits
        assert np.array_equal(view.photo(), pixels)


def test_the_square_is_what_the_weights_expect() -> None:
    network, pixels = wrap(RedMinusBlue(), 64), photo(90, 128)
    view = look_at(network, pixels, Fit.CROP)
    assert np.array_equal(view.seen[0], network.crop(pixels)) and np.array_equal(view.pixels, view.seen[0])


def test_slid_squares_are_put_back_where_they_were_cut() -> None:
    view = look_at(wrap(RedMinusBlue(), 64), photo(64, 160), Fit.SLIDE)
    assert view.places == ((0, 0), (0, 32), (0, 64), (0, 96))
    whole = np.random.default_rng(1).random((64, 160)).astype(np.float32)
    np.testing.assert_allclose(view.merge(view.parts(whole)[:, None])[0], whole, rtol=1e-6)
    cells = np.arange(20, dtype=np.float32)  # a layer of stride 8: 8 cells a square, 20 over the whole
    squares = np.stack([np.broadcast_to(cells[place : place + 8], (1, 8, 8)) for place in (0, 4, 8, 12)])
    np.testing.assert_allclose(view.merge(squares)[0], np.broadcast_to(cells, (8, 20)))
    steps = np.abs(np.diff(view.merge(np.ones((4, 1, 64, 64)) * np.arange(4).reshape(4, 1, 1, 1))[0, 0]))
    assert steps.max() < 0.1  # no seam where a square ends
    assert view.merge(np.float32([1, 2, 3, 6]).reshape(4, 1, 1, 1)).item() == 3  # what has no place: the mean


def test_networks_of_one_size_slide() -> None:
    assert usable_fit(untrained("vit_b_32"), Fit.WHOLE) is Fit.SLIDE
    assert usable_fit(wrap(RedMinusBlue(), 64), Fit.WHOLE) is Fit.WHOLE
    assert usable_fit(wrap(RedMinusBlue(), 64), Fit.CROP) is Fit.CROP


def test_whole_and_slid_maps_find_what_the_square_does_not_see() -> None:
    network = wrap(RedMinusBlue(), 16, ("red", "blue"))
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, :8, 0] = 255  # red at the far left, which the centre's square misses
    pixels[:, 40:, 2] = 255
    for fit, found in ((Fit.WHOLE, True), (Fit.SLIDE, True), (Fit.CROP, False)):
        view = look_at(network, pixels, fit)
        heats = finish(
            explain(
                *(network, network.to_input(view.seen), [Target(0)] * len(view.seen)),
                *(Method.GRADCAM, WhySettings(), "maps"),
            )
        )
        heat = view.merge(np.stack([one.values[None] for one in heats]))[0]
        assert heat.shape == view.size
        assert bool(heat.any()) is found
        assert not found or heat[:, :8].sum() == pytest.approx(heat.sum())


def test_tokens_and_channels_last_maps_of_an_oblong_image() -> None:
    from dltool.featmap.activations import lay_out

    module = torch.nn.Module()
    maps = torch.rand(2, 5, 4, 6)  # N × C × h × w of images of 64 × 96
    for output in (maps.permute(0, 2, 3, 1), torch.cat([torch.zeros(2, 1, 5), maps.flatten(2).transpose(1, 2)], 1)):
        assert torch.equal(lay_out(module, output, "x", 2, 64 / 96)[1], maps)

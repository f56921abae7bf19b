"""Patches of the painting that an image is drawn to."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dltool.events import finish
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize.motifs import motif_maps
from dltool.stylize.optimize import StyleTargets, first_image, stylize
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.targets import Painting, whole_features

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=96, steps=12, scales=1)


@pytest.fixture(scope="module")
def images(sample_images) -> list[Tensor]:
    paths = ("photos/cat.jpg", "styles/night_swirls.jpg", "styles/autumn_field.jpg")
    return [to_tensor(resize_image(read_image(sample_images / path), 128).pixels) for path in paths]


def _maps(network, image: Tensor, paintings, masks=(None,), tile_side: int | None = None) -> Tensor:
    styles = [StyleTargets(network, painting) for painting in paintings]
    (maps,) = motif_maps(network, image, styles, masks, 128, tile_side).values()
    return maps


def test_an_image_is_its_own_most_similar_painting(network, images) -> None:
    photo, painting, _ = images
    (own,) = (network(photo)[name] for name in network.content_layers)
    torch.testing.assert_close(_maps(network, photo, [photo]), own)
    blend = [Painting(painting), Painting(photo, 0.1)]
    torch.testing.assert_close(_maps(network, photo, [blend]), own)
    assert (_maps(network, photo, [painting]) - own).norm() > 0.3 * own.norm()


def test_each_position_takes_the_most_similar_patch(network, images) -> None:
    photo, painting, _ = images
    own, known = (network(image)[network.content_layers[0]] for image in (photo, painting))
    matched = _maps(network, photo, [painting])
    centred, theirs = own - own.mean((2, 3), keepdim=True), known - known.mean((2, 3), keepdim=True)
    rows, columns = known.shape[2:]
    wanted = torch.zeros_like(own[..., 4, 4])
    for row in (3, 4, 5):  # the nine patches that have position 4, 4 in them
        for column in (3, 4, 5):
            patch = centred[..., row - 1 : row + 2, column - 1 : column + 2].flatten()
            places = [(y, x) for y in range(1, rows - 1) for x in range(1, columns - 1)]
            patches = [theirs[..., y - 1 : y + 2, x - 1 : x + 2].flatten() for y, x in places]
            y, x = places[int(torch.stack([patch @ each / each.norm() for each in patches]).argmax())]
            wanted += known[..., y + 4 - row, x + 4 - column] / 9
    torch.testing.assert_close(matched[..., 4, 4], wanted, rtol=0.05, atol=0.05 * float(known.std()))


def test_regions_and_transparency_say_which_patches_may_be_taken(network, images) -> None:
    photo, painting, other = images
    left = torch.zeros(1, 1, *photo.shape[2:])
    left[..., :64] = 1
    both = _maps(network, photo, [painting, other], (left, 1 - left))
    for part, style in ((slice(None, 7), painting), (slice(9, None), other)):
        torch.testing.assert_close(both[..., part], _maps(network, photo, [style])[..., part])
    (own,) = (network(photo)[name] for name in network.content_layers)
    seen = _maps(network, photo, [[Painting(photo, opacity=left)]])
    torch.testing.assert_close(seen[..., :7], own[..., :7])
    assert (seen - own)[..., 9:].norm() > 0.3 * own[..., 9:].norm()


def test_features_of_tiles_are_those_of_the_whole(network, images) -> None:
    wide = torch.nn.functional.interpolate(images[1], (60, 500))
    whole = whole_features(network, wide, None, network.style_layers)
    for name, maps in whole_features(network, wide, 470, network.style_layers).items():
        assert (maps - whole[name]).norm() <= 1e-5 * whole[name].norm()


def test_an_image_is_drawn_to_the_patches_that_its_start_is_most_similar_to(network, images) -> None:
    photo, painting, _ = images
    targets, settings = StyleTargets(network, painting), replace(QUICK, margin=0)
    wanted = _maps(network, first_image(photo, targets, settings), [painting])

    def result(**options: float) -> Tensor:
        return finish(stylize(photo, targets, network, replace(settings, **options), CPU)).image

    def distance(image: Tensor) -> float:
        return float((network(image)[network.content_layers[0]] - wanted).norm())

    assert distance(result(motif_weight=1.0)) < 0.85 * distance(result())
    assert torch.equal(result(strength=0.0, motif_weight=1.0), result(strength=0.0))

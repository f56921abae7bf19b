"""Moving images: what stands still is held still, what moves is not dragged along."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.frames import FrameDone, stillness, stylize_frames
from dltool.stylize.optimize import StyleTargets
from dltool.stylize.settings import StylizeSettings

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=96, steps=10, scales=1, init="noise")


@pytest.fixture(scope="module")
def parts(sample_images):
    names = ("photos/cat.jpg", "styles/night_swirls.jpg")
    photo, style = (resize_image(read_image(sample_images / name), 96).pixels for name in names)
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        yield photo, StyleTargets(network, to_tensor(style)), network


def _moving(photo: np.ndarray) -> list[np.ndarray]:
    """A bright square that walks over the right half of a photo."""
    frames = []
    for place in (56, 66, 76):
        frame = photo.copy()
        frame[20:40, place : place + 12] = (255, 250, 240)
        frames.append(frame)
    return frames


def _results(frames, parts, hold_weight: float, **more) -> list[np.ndarray]:
    _, style, network = parts
    events = stylize_frames(frames, style, network, QUICK, CPU, hold_weight, **more)
    return [event.pixels for event in events if isinstance(event, FrameDone)]


def _flicker(results: list[np.ndarray]) -> float:
    still = [result[:, :40].astype(np.float32) for result in results]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(still)]))


def test_what_stands_still_flickers_less_the_more_it_is_held(parts):
    frames = _moving(parts[0])
    free, held = (_flicker(_results(frames, parts, weight)) for weight in (0.0, 2000.0))
    assert held < 0.5 * free


def test_going_on_from_frames_that_are_there_gives_the_same_frames(parts):
    frames = _moving(parts[0])
    whole = _results(frames, parts, 200.0)
    rest = _results(frames, parts, 200.0, ready={1: whole[0], 2: whole[1]}.get)
    assert len(rest) == 1
    assert np.array_equal(rest[0], whole[2])


def test_stillness_is_one_where_nothing_changes_and_small_where_something_does(parts):
    first, second, _ = (to_tensor(frame) for frame in _moving(parts[0]))
    still = stillness(first, second)
    assert still.shape == (1, 1, *first.shape[2:])
    assert still[..., :50].min() == 1
    assert still[0, 0, 25:35, 70:74].max() < 0.05


def test_a_frame_of_another_size_starts_anew(parts):
    photo = parts[0]
    results = _results([photo, photo[:50]], parts, 200.0)
    assert [result.shape for result in results] == [photo.shape, photo[:50].shape]

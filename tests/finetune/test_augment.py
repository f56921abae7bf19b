"""Variations are functions of seed, epoch and sample; every operation keeps size and type."""

import numpy as np
import torch
from PIL import Image

from dltool.backbones.preprocessing import Preprocessing
from dltool.finetune.augment import _OPERATIONS, augment_pixels
from dltool.finetune.batches import FeatureSource, ResidentSource
from dltool.finetune.settings import Augment
from dltool.training.seeds import numpy_generator

PREPROCESSING = Preprocessing(resize=64, crop=48)
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)


def vary(kind: Augment, *parts: int) -> np.ndarray:
    return augment_pixels(PIXELS, kind, PREPROCESSING, numpy_generator(*parts))


def test_none_is_what_evaluation_sees() -> None:
    assert np.array_equal(vary(Augment.NONE, 1), PREPROCESSING.crop_pixels(PIXELS))


def test_variations_depend_on_epoch_and_sample_alone() -> None:
    for kind in (Augment.BASIC, Augment.TRIVIAL):
        assert np.array_equal(vary(kind, 0, 1, 2), vary(kind, 0, 1, 2))
        assert len({vary(kind, 0, epoch, 2).tobytes() for epoch in range(6)}) == 6


def test_every_operation_of_trivialaugment_keeps_size_and_mode() -> None:
    image = Image.fromarray(PIXELS)
    assert len(_OPERATIONS) == 14
    changed = 0
    for operation in _OPERATIONS:
        for strength, sign in ((0.0, 1), (1.0, -1)):
            out = operation(image, strength, sign)
            assert (out.size, out.mode) == (image.size, "RGB")
        changed += not np.array_equal(np.asarray(out), PIXELS)
    assert changed >= 12


def test_shifted_images_are_moved_by_whole_pixels() -> None:
    images = torch.zeros(20, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    source = ResidentSource(images, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)), Augment.BASIC, seed=0)
    (batch,) = source.batches([np.arange(20)], epoch=0)
    places = batch.flatten(1).argmax(1)
    assert batch.sum() == 20
    assert {int(p) // 9 for p in places} <= {2, 3, 4, 5, 6}
    assert len(set(places.tolist())) > 5


def test_views_of_features_change_with_the_epoch_and_not_with_the_batching() -> None:
    views = torch.stack([torch.zeros(40, 2), torch.ones(40, 2)])
    source = FeatureSource(views, seed=0)
    whole = torch.cat(list(source.batches([np.arange(40)], 3)))
    parts = torch.cat(list(source.batches([np.arange(7), np.arange(7, 40)], 3)))
    assert torch.equal(whole, parts)
    assert 5 < whole[:, 0].sum() < 35
    assert not torch.equal(whole, torch.cat(list(source.batches([np.arange(40)], 4))))

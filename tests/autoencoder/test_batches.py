"""Random crops: real parts of the images, a function of seed, epoch and sample alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.batches import CropSource, ResidentCrops, WholeSource, reflect_to
from dltool.autoencoder.data import ImageData, Images, load_images
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.networks import create_autoencoder
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.settings import AeSettings, Augment, complete
from dltool.autoencoder.trainer import AutoencoderTrainer
from dltool.events import finish
from dltool.images.write import write_image
from dltool.training.context import RunContext
from dltool.training.trainer import Share


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Images whose every pixel is another: red is the row, green the column, blue the image's number."""
    for number, (height, width) in enumerate([(20, 30), (40, 25), (9, 60)]):
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([rows, columns, np.full_like(rows, number)], axis=2).astype(np.uint8)
        write_image(tmp_path / f"{number}.png", pixels)
    return finish(load_images(ImageData(str(tmp_path), val=0.0), 0)).splits["train"]


def source(images: Images, augment: Augment = Augment.NONE, seed: int = 0, workers: int = 0) -> CropSource:
    return CropSource(images, 3, 16, 50, augment, seed, workers)


def epoch_of(crops: CropSource, epoch: int = 0) -> torch.Tensor:
    return torch.cat(list(crops.batches(np.array_split(np.arange(len(crops)), 7), epoch)))


def test_crops_are_parts_of_the_images_and_reach_every_edge(images: Images) -> None:
    crops = epoch_of(source(images))
    assert crops.shape == (150, 3, 16, 16) and crops.dtype == torch.uint8
    for number, (height, width) in enumerate([(20, 30), (40, 25)]):
        own = crops[(crops[:, 2] == number).all((1, 2))]
        assert len(own) == 50
        assert (own[:, 0, 1:] - own[:, 0, :-1] == 1).all() and (own[:, 1, :, 1:] - own[:, 1, :, :-1] == 1).all()
        assert {int(own[:, 0].min()), int(own[:, 1].min())} == {0}
        assert (int(own[:, 0].max()), int(own[:, 1].max())) == (height - 1, width - 1)
    flat = crops[(crops[:, 2] == 2).all((1, 2))]
    assert flat[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1]  # continued by reflection


def test_a_crop_depends_on_seed_epoch_and_sample_and_on_nothing_else(images: Images) -> None:
    crops = source(images, Augment.DIHEDRAL)
    whole = epoch_of(crops, 3)
    assert torch.equal(next(iter(crops.batches([np.array([77, 5])], 3))), whole[[77, 5]])
    assert torch.equal(epoch_of(source(images, Augment.DIHEDRAL, workers=2), 3), whole)
    assert not torch.equal(epoch_of(crops, 4), whole)
    assert not torch.equal(epoch_of(source(images, Augment.DIHEDRAL, seed=1), 3), whole)


def test_files_read_again_give_the_same_crops(images: Images) -> None:
    again = Images(images.names, images.sizes, images.hashes, images.grey, {})
    assert torch.equal(epoch_of(source(again, workers=2)), epoch_of(source(images)))


@pytest.mark.parametrize("augment", [Augment.DIHEDRAL, Augment.FLIP, Augment.NONE])
def test_crops_cut_on_the_device_are_the_same(images: Images, augment: Augment) -> None:
    resident = ResidentCrops(images, 3, 16, 50, augment, 0, torch.device("cpu"))
    assert torch.equal(epoch_of(resident, 2), epoch_of(source(images, augment), 2))


@pytest.mark.parametrize(("augment", "kinds"), [(Augment.DIHEDRAL, 8), (Augment.FLIP, 2), (Augment.NONE, 1)])
def test_symmetries(augment: Augment, kinds: int) -> None:
    letter = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(200, 1, 2, 2)
    whole = WholeSource(letter, augment, seed=0)
    batch = next(iter(whole.batches([np.arange(200)], 0)))
    seen = {tuple(image.flatten().tolist()) for image in batch}
    assert len(seen) == kinds
    assert (1, 2, 3, 4) in seen and ((2, 1, 4, 3) in seen) == (kinds > 1)


def test_reflection_from_one_pixel() -> None:
    assert torch.equal(reflect_to(torch.full((3, 1, 1), 7), 4), torch.full((3, 4, 4), 7))


@pytest.mark.parametrize("law", ["gaussian:0-55/255", "camera@0.5,mask:0.2"])
def test_a_process_reads_its_own_rows_and_draws_the_noise_of_the_whole_batch(images: Images, law: str) -> None:
    read: list[np.ndarray] = []

    class Watched(CropSource):
        def batches(self, parts: list[np.ndarray], epoch: int) -> Iterator[torch.Tensor]:
            read.extend(parts)
            return super().batches(parts, epoch)

    crops = Watched(images, 3, 16, 50, Augment.NONE, 0, 0)
    network = create_autoencoder("unet", in_channels=3, channels=[4, 8], blocks=1)
    held_out = HeldOut((torch.zeros(1, 3, 16, 16, dtype=torch.uint8),), parse_noise(law), 0)
    settings = complete(AeSettings(arch="unet", noise=law))
    context = RunContext(torch.device("cpu"))
    trainer = AutoencoderTrainer(TrainedAutoencoder(network, "unet", {}), crops, held_out, settings, context)
    numbers = np.arange(40, 51)
    ((whole, _),) = trainer.batches([Share(1, 2, 5, numbers, slice(None), 11, 1 / 11)])
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        read.clear()
        ((noisy, clean),) = trainer.batches([Share(1, 2, 5, numbers[rows], rows, 11, 1 / 11)])
        assert [list(part) for part in read] == [list(numbers[rows])]
        assert torch.equal(noisy, whole[rows])
        assert not torch.equal(noisy, clean)

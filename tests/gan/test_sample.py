"""Drawing from a generator: seeds, batches, classes, walks, and a model file that says everything."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dltool.errors import ModelError, SettingsError
from dltool.gan.generator_file import TrainedGenerator, load_generator
from dltool.gan.images import grid_page
from dltool.gan.networks import build_generator
from dltool.gan.sample import class_labels, generate, latent, walk
from dltool.gan.sample_settings import read_seeds
from dltool.gan.settings import Arch, NetworkSpec
from dltool.training.model_file import load_model, save_model


@pytest.fixture(params=list(Arch), scope="module")
def generator(request: pytest.FixtureRequest) -> TrainedGenerator:
    torch.manual_seed(1)
    spec = NetworkSpec(request.param, 28, 1, latent_dim=16, num_classes=2, width=4)
    return TrainedGenerator(build_generator(spec).eval(), ("cat", "dog"), {"frechet": 1.5}, {"lr": 1.0})


def test_a_model_file_gives_the_same_images(generator: TrainedGenerator, tmp_path: Path):
    save_model(tmp_path / "model.safetensors", generator.to_file())
    loaded = load_generator(tmp_path / "model.safetensors")
    assert (loaded.spec, loaded.class_names, loaded.metrics) == (generator.spec, ("cat", "dog"), {"frechet": 1.5})
    noise, labels = latent(range(5), 16), torch.tensor([0, 1, 0, 1, 1])
    assert torch.equal(generate(loaded.module, noise, labels), generate(generator.module, noise, labels))


def test_a_image_depends_on_its_seed_and_class_alone(generator: TrainedGenerator):
    noise, labels = latent(range(70), 16), torch.arange(70) % 2
    together = generate(generator.module, noise, labels)
    assert together.shape == (70, 1, 28, 28) and together.dtype == torch.uint8
    alone = generate(generator.module, latent([69], 16), labels[69:])
    assert torch.equal(alone[0], together[69])
    assert not torch.equal(together[0], together[2])


def test_damaged_descriptions_are_refused(generator: TrainedGenerator, tmp_path: Path):
    file = generator.to_file()
    for arguments in ({"arch": "vae"}, {**file.arguments, "size": 29}, {**file.arguments, "latent_dim": 17}):
        save_model(tmp_path / "model.safetensors", replace(file, arguments=arguments))
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load_generator(tmp_path / "model.safetensors")
    save_model(tmp_path / "other.safetensors", replace(file, command="finetune"))
    with pytest.raises(ModelError, match="dltool finetune"):
        load_generator(tmp_path / "other.safetensors")
    assert load_model(tmp_path / "model.safetensors").command == "gan"


def test_a_walk_keeps_its_length_and_closes():
    stops = torch.nn.functional.normalize(torch.randn(4, 32, generator=torch.Generator().manual_seed(0)), dim=1) * 5
    path = walk(stops, 40)
    assert path.shape == (40, 32)
    assert torch.allclose(path[::10], stops, atol=1e-5)
    assert torch.allclose(path.norm(dim=1), torch.full((40,), 5.0), rtol=1e-4)
    steps = (path.roll(-1, 0) - path).norm(dim=1).view(4, 10)
    assert torch.allclose(steps, steps.mean(1, keepdim=True).expand(-1, 10), rtol=1e-3)  # evenly, the last leg too
    same = torch.ones(2, 8)
    assert torch.allclose(walk(same, 4), torch.ones(4, 8))


def test_truncation_scales_the_noise():
    assert torch.allclose(latent([3], 8, 0.5), latent([3], 8) / 2)


def test_classes_in_turn(generator: TrainedGenerator):
    assert class_labels(generator, ("dog",), [4, 5, 6]).tolist() == [1, 1, 1]
    assert class_labels(generator, ("dog", "cat"), [4, 6, 8]).tolist() == [1, 0, 1]
    assert class_labels(generator, (), [0, 1, 2, 7]).tolist() == [0, 1, 0, 1]
    with pytest.raises(SettingsError, match="did you mean 'cat'"):
        class_labels(generator, ("cats",), [0])
    with pytest.raises(SettingsError, match="--conditional"):
        class_labels(replace(generator, class_names=()), ("cat",), [0])


def test_seeds_as_typed():
    assert read_seeds("0-3,9, 2") == (0, 1, 2, 3, 9)
    for text in ("", "a", "3-1", "-1", "0-9999999"):
        with pytest.raises(ValueError, match="numbers and ranges"):
            read_seeds(text)


def test_each_class_has_rows_of_its_own_and_its_name():
    images = torch.zeros(32, 1, 32, 64, dtype=torch.uint8)
    labels = torch.arange(32) % 2
    images[labels == 1] = 200
    page = grid_page(images, scale=1, gap=0, labels=labels, names=("ant", "bumblebee"))
    rows, columns = 8, 4  # 16 of each class in four rows, a page about as wide as high
    assert page.shape[0] == rows * 32 and columns * 64 < page.shape[1] < 400
    grid, names = page[:, -columns * 64 :], page[:, : -columns * 64]
    assert (grid[:128] == 0).all() and (grid[128:] == 200).all()
    inked = [(names[row * 32 : row * 32 + 32] < 128).any() for row in range(rows)]
    assert inked == [row in (0, 4) for row in range(rows)]
    many = grid_page(images, scale=1, gap=0, labels=torch.arange(32), names=[str(n) for n in range(32)])
    assert many.shape == (8 * 32, 4 * 64, 3)  # too many for rows of their own


def test_grids_keep_pixels():
    images = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 1, 8, 8)
    page = grid_page(images, columns=2, scale=2, gap=1)
    assert page.shape == (2 * 17 + 1, 2 * 17 + 1, 3)
    assert (page[1:17:2, 18:34:2, 0] == images[1, 0].numpy()).all()
    assert (page[18:, 18:] == 255).all()  # the fourth place is empty

"""The textbook's recipes, as the command line reads them, against their losses written out plainly."""

import json
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dltool.backbones.registry import create_backbone
from dltool.errors import SettingsError
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.objective import Objective, Region
from dltool.stylize.recipes import list_recipes, load_recipe
from dltool.stylize.settings import GramForm, LossForm, Pooling, StylizeSettings
from dltool.stylize.targets import style_grams
from tests.cli.run import run_inside

CPU = torch.device("cpu")


@pytest.fixture
def words(sample_images: Path, tmp_path: Path) -> list[object]:
    photo, style = sample_images / "photos" / "cat.jpg", sample_images / "styles" / "retina.jpg"
    return ["stylize", photo, "-s", style, "-o", tmp_path / "out.png", "--dry-run", "--json"]


def _settings(words: list[object], *more: object) -> dict:
    result = run_inside(*words, *more)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["settings"]


def _objective(read: dict, photo: Tensor, painting: Tensor) -> Objective:
    """What the command would minimize, with random weights in the network that it names."""
    known = {field.name for field in fields(StylizeSettings)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in read.items() if k in known}
    settings = StylizeSettings(**values | {"loss": LossForm(read["loss"]), "gram": GramForm(read["gram"])})
    options = [tuple(read[name]) if read[name] else None for name in ("pixel_mean", "pixel_std")]
    network = FeatureNetwork(
        _random(read["backbone"]), CPU, settings.content_layers, settings.style_layers, False,
        Pooling(read["pooling"]), *options,
    )  # fmt: skip
    network.__enter__()
    return Objective(network, photo, [Region(style_grams(network, painting, settings.gram))], settings)


@pytest.fixture
def double_precision(monkeypatch: pytest.MonkeyPatch):
    """Everything in float64, so that what differs is the formula and not the rounding."""
    monkeypatch.setattr(Tensor, "float", lambda tensor: tensor)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@cache
def _random(name: str):
    return create_backbone(name, "none", seed=11)


def _gram(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)[0]
    return flat @ flat.T


def _vgg19_plainly(model: nn.Module, average: bool):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def convolutions(image: Tensor) -> list[Tensor]:
        maps, found = (image - mean) / std, []
        for layer in model.features:
            if isinstance(layer, nn.ReLU):
                maps = torch.relu(maps)
            elif isinstance(layer, nn.MaxPool2d):
                maps = torch.nn.functional.avg_pool2d(maps, 2) if average else layer(maps)
            else:
                maps = layer(maps)
                found.append(maps)
            if len(found) == 5:
                return found
        raise AssertionError

    return convolutions


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_gatys_vgg19_is_the_textbook_s_loss(words, narrow_vgg: None, pooling: str):
    read = _settings(words, "--recipe", "gatys-vgg19", "--pooling", pooling)
    assert (read["size"], read["steps"], read["init"], read["optimizer"]) == (256, 300, "content", "lbfgs")
    photo, painting, image = torch.rand(3, 1, 3, 40, 48, generator=torch.Generator().manual_seed(1)).unbind()
    convolutions = _vgg19_plainly(_random("vgg19").module, pooling == "avg")
    leaf = image.clone().requires_grad_()
    maps, content, style = convolutions(leaf), convolutions(photo), convolutions(painting)
    grams = [[_gram(m) / m.numel() for m in each] for each in (maps, style)]
    loss = mse_loss(maps[3], content[3]) + 1e5 * sum(mse_loss(a, b) for a, b in zip(*grams, strict=True))
    loss.backward()
    (losses,), gradient = _objective(read, photo, painting).evaluate(image)
    assert losses.total == pytest.approx(loss.item(), rel=1e-5)
    assert (gradient - leaf.grad).norm() <= 1e-5 * leaf.grad.norm()


def test_gram_resnet50_is_its_loss_written_out(words, double_precision):
    read = _settings(words, "--recipe", "gram-resnet50")
    assert read["size"] == 512
    photo, painting, image = torch.rand(3, 1, 3, 64, 64, generator=torch.Generator().manual_seed(2)).unbind()
    model = _random("resnet50").module.requires_grad_(False)

    def taps(photo: Tensor) -> list[Tensor]:
        found = [model.conv1(photo - torch.tensor([0.4076, 0.4580, 0.4850]).view(3, 1, 1))]
        found.append(model.maxpool(torch.relu(model.bn1(found[0]))))
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            found.append(layer(found[-1]))
        return found

    leaf = image.clone().requires_grad_()
    maps, content, style = taps(leaf), taps(photo), taps(painting)
    channels = (64, 64, 256, 512, 1024, 2048)
    style_loss = sum(
        mse_loss(_gram(a), _gram(b)) / n**2 for a, b, n in zip(maps, style, channels, strict=True)
    )  # fmt: skip
    loss = mse_loss(maps[1], content[1]) + 1000 * style_loss
    loss.backward()
    (losses,), gradient = _objective(read, photo, painting).evaluate(image)
    assert losses.total == pytest.approx(loss.item(), rel=1e-7)
    assert (gradient - leaf.grad).norm() <= 1e-7 * leaf.grad.norm()


def test_flags_win_over_config_and_config_over_the_recipe(words, tmp_path: Path):
    (tmp_path / "mine.toml").write_text('description = "mine"\nsteps = 7\nscales = 2\ncontent-weight = 0.5\n')
    (tmp_path / "c.toml").write_text(f"[stylize]\nrecipe = '{tmp_path}/mine.toml'\nscales = 4\nsize = 99\n")
    for order in (
        ["--config", tmp_path / "c.toml"],
        ["--recipe", tmp_path / "mine.toml", "--config", tmp_path / "c.toml"],
    ):
        read = _settings(words, *order, "--size", 88)
        assert (read["size"], read["steps"], read["scales"], read["content_weight"]) == (88, 7, 4, 0.5)


def test_every_recipe_is_read_by_the_command_and_listed(words):
    listed = run_inside("stylize", "--list-recipes")
    assert listed.exit_code == 0
    for recipe in list_recipes():
        assert recipe.description
        assert _settings(words, "--recipe", recipe.name)["recipe"] == recipe.name
        assert f"{recipe.name}: {recipe.description}" in listed.stdout


def test_mistakes_are_told(words, tmp_path: Path):
    with pytest.raises(SettingsError, match="did you mean 'gatys-vgg19'"):
        load_recipe("gatys-vgg16")
    (tmp_path / "bad.toml").write_text("stepz = 3")
    result = run_inside(*words, "--recipe", tmp_path / "bad.toml")
    assert result.exit_code == 2
    assert "has no option 'stepz'; did you mean 'steps'" in result.stderr
    (tmp_path / "nested.toml").write_text("[stylize]\nsteps = 3")
    assert "[stylize] has no place in it" in run_inside(*words, "--recipe", tmp_path / "nested.toml").stderr

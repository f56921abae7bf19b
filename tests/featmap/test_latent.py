"""Autoencoders and generators: what their layers, filters and codes show."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.networks import create_autoencoder
from dltool.featmap.filters import filter_weights
from dltool.featmap.latent import decoded, traverse
from dltool.featmap.layers import default_layers, list_layers
from dltool.featmap.model_file import network_from_model
from dltool.featmap.network import Network
from dltool.gan.generator_file import TrainedGenerator, load_generator
from dltool.gan.networks import build_generator
from dltool.gan.sample import class_labels, generate, latent
from dltool.gan.settings import NetworkSpec
from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.featmap.networks import CPU, wrap

GREY = {"in_channels": 1, "height": 12, "width": 8, "latent_dim": 3}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained models of every kind, by name."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    kinds = {"conv": GREY, "stacked": GREY, "unet": {"in_channels": 3, "channels": [4, 8]}}
    for arch, arguments in kinds.items():
        trained = TrainedAutoencoder(create_autoencoder(arch, **arguments).eval(), arch, arguments)
        save_model(folder / f"{arch}.safetensors", trained.to_file({}))
    for arch in ("dcgan", "mlp"):
        spec = NetworkSpec(arch, 32, 3, 5, num_classes=2)
        save_model(
            folder / f"{arch}.safetensors", TrainedGenerator(build_generator(spec).eval(), ("a", "b"), {}, {}).to_file()
        )
    return folder


class BrightBySecond(nn.Module):
    """Its code is the mean of red, green and blue; the second of them is how bright the decoded image is."""

    def encode(self, images):
        return images.mean((2, 3))

    def decode(self, codes):
        return codes[:, 1, None, None, None].expand(-1, 3, 4, 4) + 0.1 * codes[:, 2, None, None, None]


def test_numbers_of_a_code_in_the_order_of_what_they_do() -> None:
    plain = wrap(BrightBySecond(), 4)
    network = Network(plain.name, plain.module, plain.preprocessing, (), CPU, latent_dim=3)
    found = traverse(network, torch.full((1, 3, 4, 4), 0.25), 2)
    assert [one.dimension for one in found] == [1, 2]
    # The root mean square of (.25, .25, .25) is .25: from -.5 to 1, of which 0 to 1 can be seen.
    np.testing.assert_allclose(found[0].values, np.linspace(-0.5, 1.0, 7), atol=1e-6)
    assert found[0].effect == pytest.approx(255, abs=1)
    assert [int(image[0, 0, 0]) for image in found[0].images[-3:]] == [134, 198, 255]


def test_a_generator_s_noise_is_the_seed_s(models) -> None:
    network = network_from_model(models / "dcgan.safetensors", CPU)
    trained = load_generator(models / "dcgan.safetensors")
    for seed in (0, 3):
        drawn = generate(trained.module, latent([seed], 5), class_labels(trained, [], [seed]))
        own = decoded(network, network.noise(seed))
        assert np.abs(own[0].transpose(2, 0, 1).astype(int) - drawn[0].numpy()).max() <= 1
    found = traverse(network, network.noise(0), 5)
    assert found[0].effect > 0 and found[0].values == (-3, -2, -1, 0, 1, 2, 3)


def test_filters_of_what_sees_or_paints_an_image(models) -> None:
    shapes = {"conv": (16, 1, 3, 3), "stacked": (128, 1, 12, 8), "dcgan": (64, 3, 4, 4), "mlp": (1024, 3, 32, 32)}
    for name, shape in shapes.items():
        network = network_from_model(models / f"{name}.safetensors", CPU)
        layer, weights = filter_weights(network)
        assert weights.shape == shape, name
        own = network.module.get_submodule(layer).weight
        if name == "mlp":  # a filter is what one input paints
            np.testing.assert_array_equal(weights[7].ravel(), own[:, 7].numpy())
    assert filter_weights(network_from_model(models / "conv.safetensors", CPU), "decoder.3")[1].shape == (32, 64, 3, 3)


def test_layers_of_chains_of_dense_layers_are_their_numbers(models) -> None:
    layers = list_layers(network_from_model(models / "stacked.safetensors", CPU))
    assert default_layers(layers) == ("encoder.1", "encoder.3", "encoder.5", "decoder.0", "decoder.2", "decoder.4")


@pytest.mark.parametrize("name", ["conv", "unet"])
def test_autoencoders_on_the_command_line(models, sample_images, tmp_path, name: str) -> None:
    words = ("featmap", sample_images / "photos" / "cat.jpg", "--model", models / f"{name}.safetensors", "-o", tmp_path)
    result = run_inside(*words, "--json")
    assert result.exit_code == 0, result.output
    shapes = {e.get("layer"): e.get("shape") for e in json.loads(result.stdout)["items"][0]["outputs"]}
    traversed = run_inside(*words, "--traverse", 2, "--json")
    if name == "unet":
        assert shapes["head"] == [4, 224, 352]
        assert traversed.exit_code == 2 and "has no code to go along" in traversed.stderr
        return
    assert shapes["encoder.0"] == [16, 6, 4] and shapes["decoder.7"] == [1, 12, 8]
    (entry,) = json.loads(traversed.stdout)["items"][0]["outputs"]
    assert entry["kind"] == "traversal" and len(entry["code"]) == 2 and (tmp_path / "cat.traverse.png").exists()
    assert "class scores" in run_inside(*words, "-m", "gradcam").stderr
    assert "--fit: has no effect with an autoencoder" in run_inside(*words, "--fit", "whole").stderr


def test_generators_on_the_command_line(models, sample_images, tmp_path) -> None:
    words = ("featmap", "--model", models / "dcgan.safetensors", "-o", tmp_path)
    result = run_inside(*words, "--layer", "4", "--raw", "--json")
    assert result.exit_code == 0, result.output
    maps, raw = json.loads(result.stdout)["outputs"]
    assert maps["shape"] == [128, 8, 8] and maps["output"].endswith("noise.maps.png") and maps["input"] is None
    network = network_from_model(models / "dcgan.safetensors", CPU)
    with torch.no_grad():
        own = network.module[:5](network.noise(0))[0]
    np.testing.assert_allclose(np.load(raw["output"])["4"], own.numpy(), rtol=1e-4, atol=1e-6)
    assert run_inside(*words, "--traverse", 3).exit_code == 0 and (tmp_path / "noise.traverse.png").exists()
    for more, message in (
        ((sample_images / "photos" / "cat.jpg",), "looks at the network alone"),
        (("-m", "gradcam"), "a generator sees no images"),
        (("--size", 64), "--size: has no effect with a generator"),
    ):
        refused = run_inside(*words, *more, "--overwrite")
        assert refused.exit_code == 2 and message in refused.stderr

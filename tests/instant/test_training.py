"""What a style training writes, that it goes on bit by bit where it was stopped, and what its crops have in common."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.errors import DataError, ModelError, SettingsError
from dltool.instant.painting import mixed, paint
from dltool.instant.settings import InstantSettings, TrainingPhotos
from dltool.instant.style_file import blend, load_style
from dltool.instant.trainer import StyleTrainer, difference
from dltool.training.context import RunContext
from dltool.training.events import StepEnd
from dltool.training.model_file import ModelFile, load_model, save_model
from tests.instant.conftest import CPU, train


def test_a_stopped_training_ends_bit_equal(run: Path, paintings, sample_images: Path, tmp_path: Path) -> None:
    stops = iter([False, True])
    folder = tmp_path / "run"
    events, result = train(paintings, sample_images / "photos", folder, should_stop=lambda: next(stops, False))
    assert result is None and sum(isinstance(event, StepEnd) for event in events) == 2
    events, result = train(paintings, sample_images / "photos", folder, resume=True)
    assert sum(isinstance(event, StepEnd) for event in events) == 1
    whole, resumed = (torch.load(each / "last.ckpt", weights_only=True)["model"] for each in (run, folder))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert result.style.metrics == load_style(run).metrics
    with pytest.raises(SettingsError, match="--crop 40 differs from the run's 32"):
        train(paintings, sample_images / "photos", folder, resume=True, crop=40)


def test_a_run_leaves_a_sheet_and_a_small_file_of_each_painting(run: Path) -> None:
    assert {path.name for path in (run / "samples").iterdir()} == {"epoch-001.png"}
    for name in ("night_swirls", "sea_storm"):
        file = load_model(run / f"{name}.safetensors", "style")
        assert (run / f"{name}.safetensors").stat().st_size < 750_000
        assert {tensor.dtype for tensor in file.tensors.values()} == {torch.float16}
        (painting,) = file.arguments["paintings"]
        with Image.open(io.BytesIO(base64.b64decode(painting["thumbnail"]))) as thumbnail:
            assert painting["name"] == name and max(thumbnail.size) == 96
        assert {"content_loss", "style_loss"} <= file.metrics.keys()


def test_styles_of_one_training_blend_and_others_do_not(run: Path, tmp_path: Path) -> None:
    both, swirls, storm = (load_style(run / name) for name in ("", "night_swirls.safetensors", "sea_storm.safetensors"))
    mixed = blend([(swirls, 1.0), (storm, 3.0)])
    image, shares = torch.rand(1, 3, 32, 40), torch.tensor([[0.25, 0.75]])
    with torch.no_grad():
        assert torch.equal(mixed.network(image, shares), both.network(image, shares))
        assert not torch.allclose(both.network(image, shares), swirls.network(image, torch.ones(1, 1)), atol=1e-4)
    assert mixed.weights == (1.0, 3.0) and mixed.name == "night_swirls+sea_storm"
    with torch.no_grad():
        storm.network.first.weight.add_(0.1)
    with pytest.raises(SettingsError, match="night_swirls and sea_storm are not of one training"):
        blend([(swirls, 1.0), (storm, 1.0)])


def test_strokes_of_several_sizes_are_learnt_and_chosen(paintings, sample_images: Path, tmp_path: Path) -> None:
    train(paintings, sample_images / "photos", tmp_path / "run", scales=(0.5, 1.0, 2.0), steps=6)
    both, storm = load_style(tmp_path / "run"), load_style(tmp_path / "run" / "sea_storm.safetensors")
    assert (both.network.styles, storm.network.styles, storm.scales) == (6, 3, (0.5, 1.0, 2.0))
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    fine, between, broad = (paint(image, mixed(storm, False, CPU, scale)) for scale in (0.5, 0.75, 2.0))
    assert (fine != between).any() and (between != broad).any()
    torch.testing.assert_close(storm.scale_shares(0.5**0.5), torch.tensor([0.5, 0.5, 0.0]))
    regions = mixed(both, True, CPU, 2.0)
    assert regions.shares.tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]] and len(regions.colors) == 2
    again = blend([(storm, 1.0)])
    assert (paint(image, mixed(again, False, CPU, 0.75)) == between).all()
    with pytest.raises(SettingsError, match=r"--style-scale 3: sea_storm has learnt 0\.5 to 2"):
        mixed(storm, False, CPU, 3.0)


def test_a_damaged_description_is_told(run: Path, tmp_path: Path) -> None:
    file = load_model(run / "sea_storm.safetensors")
    for change in ({"paintings": []}, {"styles": 2}, {"scales": [0.5, 1]}, {"scales": "x"}, {"channels": 95}):
        broken = ModelFile("style", "style", file.arguments | change, file.tensors)
        save_model(tmp_path / "broken.safetensors", broken)
        with pytest.raises(ModelError, match=r"broken\.safetensors"):
            load_style(tmp_path / "broken.safetensors")


def test_two_crops_agree_where_they_overlap() -> None:
    image = torch.rand(3, 40, 40)
    for down, right in ((0, 0), (5, -3), (-4, 7)):
        top, left = 10, 10
        one, other = image[:, 10:30, 10:30], image[:, top + down : top + down + 20, left + right : left + right + 20]
        assert difference(one, other, torch.tensor([down, right])) == 0
        assert difference(one, other, torch.tensor([down + 1, right])) > 0.01


def test_half_of_the_pairs_show_nearly_the_same(run: Path) -> None:
    class Photos(list):
        def pixels(self, index: int) -> np.ndarray:
            return self[index]

    photos = Photos([np.random.default_rng(0).integers(0, 256, (120, 240, 3), np.uint8)])
    settings = InstantSettings(size=240, crop=96)
    trainer = StyleTrainer(load_style(run), None, [{}], {"train": photos}, settings, RunContext(CPU))
    shifts = []
    for number in range(60):
        crops, _, _, shift, _ = trainer._pair(0, number)
        shifts.append(int(shift.abs().max()))
        if shifts[-1] < 90:
            assert difference(*crops, shift) == 0
    assert 25 < sum(shift <= 24 for shift in shifts) < 50 and max(shifts) > 60


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--crop 36: a multiple of 8"):
        InstantSettings((Path("a.jpg"),), crop=36)
    for scales in ((0.5, 2.0), (2.0, 1.0)):
        with pytest.raises(SettingsError, match=r"--scales: rising numbers are needed, 1 among them"):
            InstantSettings((Path("a.jpg"),), scales=scales)
    with pytest.raises(SettingsError, match="each needs a name of its own"):
        InstantSettings((Path("a/x.jpg"), Path("b/x.png")))
    with pytest.raises(DataError, match=r"--photos .*none: no such folder"):
        TrainingPhotos(str(tmp_path / "none"))

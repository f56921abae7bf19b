"""On a real card: `pytest -m gpu`. Float32 there is the CPU's to rounding, nothing waits, nothing is left behind."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dltool.backbones.registry import create_backbone
from dltool.cluster.kmeans import lloyd_torch
from dltool.denoise.denoiser import SHIPPED_DENOISER, load_denoiser
from dltool.denoise.tiles import restore_in_tiles
from dltool.device import select_device
from dltool.events import finish
from dltool.gan.loop import GanLoop
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings
from dltool.stylize.descent import Descents
from dltool.stylize.objective import Objective, Region
from dltool.stylize.optimize import stylize_together
from dltool.training.loop import TrainingLoop
from tests.cli.run import run_inside
from tests.pretend.runs import run_one_epoch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cuda() -> Iterator[torch.device]:
    """The card, as commands set it up; its limit is taken away at the end."""
    device = select_device("cuda:0")
    yield device
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def _photo(sample_images: Path, name: str, side: int = 256) -> torch.Tensor:
    return to_tensor(resize_image(read_image(sample_images / "photos" / f"{name}.jpg"), side).pixels)


def test_logits_and_features_are_the_cpus(cuda: torch.device, sample_images: Path):
    backbone = create_backbone("efficientnet_lite0")
    image = backbone.preprocessing.normalize(_photo(sample_images, "cat"))
    with torch.no_grad():
        expected, features = backbone.module(image), backbone.module.forward_features(image)
        module = backbone.module.to(cuda)
        found, there = module(image.to(cuda)).cpu(), module.forward_features(image.to(cuda)).cpu()
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    assert torch.cosine_similarity(features.flatten(), there.flatten(), 0) > 0.9999


def test_denoised_images_are_the_cpus(cuda: torch.device, sample_images: Path):
    pixels = read_image(sample_images / "photos" / "coffee.jpg").pixels[:300, :400]
    images = [
        finish(restore_in_tiles(pixels, load_denoiser(SHIPPED_DENOISER, device), 128, 32, device), lambda _: None)
        for device in (CPU, cuda)
    ]
    assert (np.abs(images[0].astype(int) - images[1]) <= 1).mean() >= 0.999


def test_class_activation_maps_are_the_cpus(tmp_path: Path, sample_images: Path):
    for device in ("cpu", "cuda"):
        words = ["featmap", sample_images / "photos" / "cat.jpg", "--method", "gradcam", "--raw", "--no-page"]
        done = run_inside(*words, "--device", device, "-o", tmp_path / device)
        assert done.exit_code == 0, done.output
    (one,), (other,) = (list((tmp_path / device).rglob("*.npz")) for device in ("cpu", "cuda"))
    first, second = np.load(one), np.load(other)
    for name in first.files:
        if first[name].ndim >= 2:
            assert np.corrcoef(first[name].ravel(), second[name].ravel())[0, 1] > 0.999


def _stylized(device: torch.device, photos: list[torch.Tensor], style: torch.Tensor) -> list[float]:
    with FeatureNetwork(create_backbone("efficientnet_lite0"), device) as network:
        settings = StylizeSettings(steps=60)
        work = stylize_together(photos, StyleTargets(network, style), network, settings, device)
        results = finish(work, lambda _: None)
    return [settings.content_weight * each.content_loss + settings.style_weight * each.style_loss for each in results]


def test_style_transfer_gets_as_far_as_on_the_cpu_alone_and_together(cuda: torch.device, sample_images: Path):
    style = to_tensor(resize_image(read_image(sample_images / "styles" / "sea_storm.jpg"), 192).pixels)
    photo = _photo(sample_images, "cat", 192)
    (here,), (there,) = _stylized(CPU, [photo], style), _stylized(cuda, [photo], style)
    assert there == pytest.approx(here, rel=0.03)
    assert _stylized(cuda, [photo] * 8, style) == pytest.approx([there] * 8, rel=0.03)


def test_a_step_of_style_transfer_waits_for_its_losses_alone(cuda: torch.device, sample_images: Path):
    with FeatureNetwork(create_backbone("efficientnet_lite0"), cuda) as network:
        photo = _photo(sample_images, "cat", 128).to(cuda)
        targets = StyleTargets(network, photo.cpu().flip(3))
        objective = Objective(network, photo, [Region(targets.at(128, cuda))], StylizeSettings())
        descents = Descents(objective, [photo], StylizeSettings())
        for _ in range(6):  # the last of them from a recording
            descents.step()
        losses, gradient = objective._whole(photo)
        torch.cuda.set_sync_debug_mode("error")
        objective._whole(photo)
        descents._lbfgs.step(photo, gradient)
        torch.cuda.set_sync_debug_mode("default")
        recorded = objective._recorded(objective._whole, photo)
        torch.testing.assert_close(recorded[0], objective._whole(photo)[0], rtol=1e-4, atol=1e-5)
        assert objective._recorded._replay is not None and losses.isfinite().all()


@pytest.mark.parametrize("command", ["finetune", "ae", "gan"])
def test_steps_of_training_wait_for_nothing(command: str, tmp_path: Path, sample_images: Path):
    loop = GanLoop if command == "gan" else TrainingLoop
    real, steps = loop._train_step, 0

    def silent(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        if steps <= 3:  # libraries choose and prepare
            return real(*arguments)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return real(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    words = {
        "finetune": ("finetune", sample_images / "textures", "--strategy", "full", "--size", 64, "--batch-size", 8),
        "ae": ("ae", "train", sample_images / "photos", "--arch", "unet", "--noise", "gaussian:25/255"),
        "gan": ("gan", "train", "digits", "--limit", 60, "--batch-size", 8),
    }[command]
    with patch.object(loop, "_train_step", silent):
        done = run_inside(*words, "--epochs", 1, "--no-page", "--device", "cuda", "-o", tmp_path / "run")
    assert (done.exit_code == 0 or "is no better than" in done.output) and steps > 6, done.output


def test_groups_are_as_narrow_as_the_cpus(cuda: torch.device):
    random = torch.Generator().manual_seed(0)
    centers = 3 * torch.randn(10, 16, generator=random)
    rows = centers.repeat(300, 1) + torch.randn(3000, 16, generator=random)
    found = [
        lloyd_torch(rows.to(device), rows[:10].to(device), rows.mean(0).to(device), 100, 0.0) for device in (CPU, cuda)
    ]
    inertia = [
        (rows.double() - each.centers.cpu().double()[each.labels.cpu().long()]).square().sum().item() for each in found
    ]
    assert inertia[1] == pytest.approx(inertia[0], rel=1e-4)


def test_little_memory_ends_in_tiles_and_parts(tmp_path: Path, sample_images: Path):
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * 2**30 / torch.cuda.mem_get_info()[1]))
    words = ["stylize", sample_images / "photos" / "cat.jpg", "-s", sample_images / "styles" / "retina.jpg"]
    done = run_inside(*words, "--size", 2048, "--steps", 3, "--device", "cuda", "-o", tmp_path / "a.png")
    assert done.exit_code == 0, done.output
    words = ["finetune", sample_images / "textures", "--strategy", "full", "--epochs", 1, "--batch-size", 87]
    done = run_inside(*words, "--size", 384, "--precision", "fp32", "--device", "cuda", "-o", tmp_path / "run")
    assert done.exit_code == 0 and "out of memory: every batch" in done.output, done.output


def test_runs_leave_no_memory_behind(tmp_path: Path, sample_images: Path):
    left = []
    for number in range(3):
        words = ["stylize", sample_images / "photos" / "cat.jpg", "-s", sample_images / "styles" / "retina.jpg"]
        done = run_inside(*words, "--size", 128, "--steps", 8, "--device", "cuda", "-o", tmp_path / f"{number}.png")
        assert done.exit_code == 0, done.output
        left.append(torch.cuda.memory_allocated())
    assert abs(left[2] - left[1]) < 2**20


def test_equal_runs_give_equal_bytes(tmp_path: Path):
    try:
        for number in range(2):
            words = ["ae", "train", "digits", "--arch", "conv", "--epochs", 2, "--limit", 200, "--no-page"]
            done = run_inside(*words, "--deterministic", "--device", "cuda", "-o", tmp_path / str(number))
            assert done.exit_code == 0, done.output
    finally:
        torch.use_deterministic_algorithms(False)
    one, other = (load_file(tmp_path / str(number) / "model.safetensors") for number in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("words", ["finetune digits --backbone cnn", "ae train digits --arch conv", "gan train digits"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(words: str, tmp_path: Path):
    command = words.split()
    asked = [*command, "--limit", 200, "--epochs", 2, "--no-page", "--deterministic", "--device", "cuda"]
    try:
        whole = run_inside(*asked, "-o", tmp_path / "whole")
        run_one_epoch(*asked, "-o", tmp_path / "parts")
        assert not (tmp_path / "parts" / "results.json").exists()
        data = 2 if command[0] == "finetune" else 3
        again = ["--resume", "--no-page", "--deterministic", "--device", "cuda", "-o", tmp_path / "parts"]
        parts = run_inside(*command[:data], *again)
    finally:
        torch.use_deterministic_algorithms(False)
    for done in (whole, parts):
        assert done.exit_code == 0 or "is no better than" in done.output, done.output
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())

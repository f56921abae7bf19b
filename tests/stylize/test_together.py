"""Images that go through the network together against the same images alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.errors import DltoolError
from dltool.events import finish
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import OnExisting, plan_outputs
from dltool.stylize.budget import images_together
from dltool.stylize.canvas import Canvas, joint_objective
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import stylize_files
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, stylize, stylize_together
from dltool.stylize.settings import Extras, GramForm, LossForm, Optimizer, PreserveColor, StylizeSettings

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=48, steps=3, scales=1)
PLAIN_SUMS = replace(QUICK, tv_weight=3.0, loss=LossForm.MSE, gram=GramForm.ELEMENTS, style_weight=1e4)
OWN_TARGETS = replace(QUICK, strength=0.6, preserve_color=PreserveColor.HISTOGRAM)


@pytest.fixture(scope="module")
def network():
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE, "none"), CPU, ("blocks.1.1",), ("bn1", "blocks.2.0")) as net:
        yield net


def _random(count: int, height: int, width: int, seed: int) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", [QUICK, PLAIN_SUMS, OWN_TARGETS], ids=["default", "plain sums", "own targets"])
@pytest.mark.parametrize("tile", [None, 112])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_and_gradients_together_are_those_alone(network, settings: StylizeSettings, tile, masked: bool):
    size = (150, 20)
    photos, images = (_random(3, *size[::-1], seed) for seed in (1, 2))
    styles = [StyleTargets(network, _random(1, 40, 60, seed)) for seed in ((3, 4) if masked else (3,))]
    ramp = torch.linspace(0, 1, size[0]).expand(1, 1, *size[::-1])
    mask = torch.cat([ramp, 1 - ramp], 1) if masked else None
    settings = replace(settings, margin=0)
    canvases = [Canvas(photo, styles, settings, mask) for photo in photos.split(1)]

    def evaluate(which: list[Canvas], photos: Tensor):
        return joint_objective(which, network, size, settings, CPU, tile).evaluate(photos)

    losses, gradients = evaluate(canvases, images)
    for number, canvas in enumerate(canvases):
        (alone,), gradient = evaluate([canvas], images[number : number + 1])
        assert losses[number] == pytest.approx(alone, rel=1e-5)
        assert (gradients[number] - gradient[0]).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_each_image_keeps_its_own_optimizer_and_best_image(network, optimizer: Optimizer):
    settings = replace(QUICK, optimizer=optimizer, steps=6, scales=2, average=0.5, margin=0)
    photos = _random(3, 48, 40, 1).split(1)
    style = StyleTargets(network, _random(1, 40, 60, 2))
    steps: list[tuple[int, StylizeStep]] = []
    results = finish(stylize_together(photos, style, network, settings, CPU, save_every=2), steps.append)
    assert [index for index, _ in steps] == [0, 1, 2] * 6
    for number, (photo, result) in enumerate(zip(photos, results, strict=True)):
        together = [step for index, step in steps if index == number]
        alone: list[StylizeStep] = []
        lonely = finish(stylize(photo, style, network, settings, CPU, save_every=2), alone.append)
        for one, other in zip(together, alone, strict=True):
            assert isinstance(one, StylizeStep)
            assert (one.step, one.steps, one.size) == (other.step, other.steps, other.size)
            assert one.loss == pytest.approx(other.loss, rel=1e-3)
            assert (one.image is None) == (other.image is None)
        assert isinstance(result, StylizeResult)
        torch.testing.assert_close(result.image, lonely.image, rtol=0, atol=2e-3)
        assert result.style_loss == pytest.approx(lonely.style_loss, rel=1e-3)


def test_the_time_of_each_image_counts_for_the_group(network, monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("dltool.stylize.optimize.time.perf_counter", lambda: float(next(clock)))
    settings, style = replace(QUICK, time=4.0, steps=100), StyleTargets(network, _random(1, 40, 60, 2))
    for count, steps in ((1, 5), (3, 13)):  # the first second is over before the first step
        photos = _random(count, 32, 32, 1).split(1)
        result = finish(stylize_together(photos, style, network, settings, CPU))[-1]
        assert result.steps == steps
        assert result.seconds == pytest.approx((steps + 1) / count)


def _folder(root: Path, sizes: list[tuple[int, int]]) -> Path:
    root.mkdir()
    for number, (width, height) in enumerate(sizes):
        pixels = (_random(1, 6, 6, number)[0].permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(root / f"{number}.png")
    return root


def _run(folder: Path, out: Path, network, together: int | None, settings: StylizeSettings = QUICK, **more):
    style = folder.parent / "style.png"
    Image.fromarray((_random(1, 40, 60, 9)[0].permute(1, 2, 0) * 255).byte().numpy()).save(style)
    jobs = plan_outputs([folder], out, ".png", OnExisting.SKIP)
    return list(stylize_files(jobs, style, network, settings, CPU, together=together, **more))


def _ends(events: list) -> dict[str, str]:
    return {event.job.input.name: event.status for event in events if isinstance(event, FileDone)}


def _groups(events: list) -> list[tuple[int, int]]:
    return list(dict.fromkeys(event.together for event in events if isinstance(event, FileStep)))


def _pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(folder.glob("*.png"))}


def _assert_near(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    assert some.keys() == others.keys()
    for name, pixels in some.items():
        assert np.abs(pixels - others[name]).max() <= 2, name


def test_a_folder_in_groups_of_one_size_is_the_folder_one_by_one(tmp_path: Path, network):
    folder = _folder(tmp_path / "in", [(48, 40)] * 5 + [(40, 48)] * 2)
    (folder / "1.png").write_text("no picture")
    extras = Extras(save_every=2, gif=True)
    together = _run(folder, tmp_path / "together", network, 3, extras=extras)
    alone = _run(folder, tmp_path / "alone", network, None, extras=extras)
    assert _groups(together) == [(1, 4), (5, 5), (6, 7)], "a broken file does not part a group, another shape does"
    assert _groups(alone) == [(number, number) for number in (1, 3, 4, 5, 6, 7)], "on the CPU each goes alone"
    assert _ends(together) == _ends(alone)
    assert _ends(together)["1.png"] == "failed"
    _assert_near(_pixels(tmp_path / "together"), _pixels(tmp_path / "alone"))
    assert len(list((tmp_path / "together").glob("*.gif"))) == 6
    assert set(_ends(_run(folder, tmp_path / "together", network, 3)).values()) == {"skipped", "failed"}


@pytest.fixture
def network_that(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Let the network call a function with its images first."""

    def patch(look: Callable[[Tensor], None]) -> None:
        plain = FeatureNetwork.__call__

        def call(network: FeatureNetwork, images: Tensor) -> dict[str, Tensor]:
            look(images)
            return plain(network, images)

        monkeypatch.setattr(FeatureNetwork, "__call__", call)

    return patch


def test_one_image_that_fails_in_a_group_changes_nothing_for_the_others(tmp_path: Path, network, network_that):
    folder = _folder(tmp_path / "in", [(48, 40)] * 4)
    _run(folder, tmp_path / "alone", network, 1)
    Image.new("RGB", (48, 40), "white").save(folder / "2.png")

    def refuse_white(images: Tensor) -> None:
        if images.flatten(1).min(1).values.max() > 0.9:
            raise RuntimeError("too bright")

    network_that(refuse_white)
    events = _run(folder, tmp_path / "together", network, 4)
    assert _ends(events) == {"0.png": "done", "1.png": "done", "2.png": "failed", "3.png": "done"}
    (error,) = [str(event.error) for event in events if isinstance(event, FileDone) and event.error]
    assert "2.png: the network does not take it at 48 x 40 pixels (too bright)" in error
    alone, together = _pixels(tmp_path / "alone"), _pixels(tmp_path / "together")
    assert all(np.array_equal(together[name], alone[name]) for name in ("0.png", "1.png", "3.png"))


def test_out_of_memory_in_a_group_lets_the_rest_go_alone(tmp_path: Path, network, network_that):
    folder = _folder(tmp_path / "in", [(48, 40)] * 5)
    tried = []

    def small_memory(images: Tensor) -> None:
        tried.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    network_that(small_memory)
    events = _run(folder, tmp_path / "out", network, 2)
    assert set(_ends(events).values()) == {"done"}
    assert [count for count in tried if count > 1] == [2], "once is enough to know"


def test_stopping_gives_up_the_group_at_work_and_keeps_what_is_finished(tmp_path: Path, network):
    folder = _folder(tmp_path / "in", [(48, 40)] * 4)
    seen = []

    def should_stop() -> bool:
        seen.append(True)
        return len(seen) > 12

    events = _run(folder, tmp_path / "out", network, 2, should_stop=should_stop)
    assert _ends(events) == {"0.png": "done", "1.png": "done"}
    assert sorted(_pixels(tmp_path / "out")) == ["0.png", "1.png"]


def test_a_loss_that_is_not_finite_is_one_file_s_error(tmp_path: Path, network, network_that):
    folder = _folder(tmp_path / "in", [(48, 40)] * 2)

    def spoil_black(images: Tensor) -> None:
        images.data[images.flatten(1).max(1).values < 0.01] = float("nan")

    network_that(spoil_black)
    Image.new("RGB", (48, 40)).save(folder / "1.png")
    events = _run(folder, tmp_path / "out", network, 2, replace(QUICK, init="content"))
    assert _ends(events) == {"0.png": "done", "1.png": "failed"}
    (error,) = [event.error for event in events if isinstance(event, FileDone) and event.error]
    assert isinstance(error, DltoolError)
    assert "the loss is not finite at the start" in str(error)


def test_small_images_go_together_on_a_gpu_within_the_memory_and_never_on_the_cpu(network):
    gpu, settings = torch.device("cuda"), replace(QUICK, max_memory=4 << 30)
    counts = [images_together(network, (side, side), settings, gpu) for side in (16, 128, 256, 512, 1024)]
    assert counts == sorted(counts, reverse=True)
    assert counts[2] > counts[3] > counts[4] == 1
    tight = replace(settings, max_memory=100 << 20)
    assert 1 <= images_together(network, (256, 256), tight, gpu) < counts[2]
    assert images_together(network, (4096, 4096), tight, gpu) == 1
    assert images_together(network, (128, 128), settings, CPU) == 1

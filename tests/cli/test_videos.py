"""Videos from the command line: `stylize --frames` and `ae denoise`, whole, stopped and gone on with."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.denoise.denoiser import load_denoiser
from dltool.denoise.settings import DenoiseSettings
from dltool.denoise.video_file import denoise_video
from dltool.images.folder import Job
from dltool.images.tensors import to_tensor
from dltool.images.video import VideoFrames, frame_times, write_video
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files_frames import frame_files
from dltool.stylize.frames import FrameDone, stylize_frames
from dltool.stylize.optimize import StyleTargets
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.styles import Style
from tests.cli.run import run_inside
from tests.denoise.denoisers import save_smoother
from tests.images.clips import RATE, SIZE, STEP, panned_frames, sound_of, write_clip

pytest.importorskip("av", reason="PyAV is not installed")
CPU = torch.device("cpu")
COUNT = 3 * RATE  # three seconds


@pytest.fixture(scope="module")
def frames(sample_images) -> list[np.ndarray]:
    return panned_frames(sample_images / "photos" / "china.jpg", COUNT)


@pytest.fixture(scope="module")
def clip(frames, tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames)


@pytest.fixture(scope="module")
def style(sample_images, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("style") / "style.png"
    Image.open(sample_images / "styles" / "night_swirls.jpg").resize((96, 72)).save(path)
    return path


def check_kept(out: Path, clip: Path) -> None:
    """The output has the clip's frames, times and sound, and nothing is left beside it."""
    assert len(VideoFrames(out)) == COUNT and VideoFrames(out).size == SIZE
    assert frame_times(out) == frame_times(clip)
    assert sound_of(out) == pytest.approx(sound_of(clip)) or sound_of(out) == sound_of(clip)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(out.name)] == [out.name]


@pytest.fixture
def written(monkeypatch) -> list[list[np.ndarray]]:
    """The frames of each video that is written; x264 makes the bytes of the files differ."""
    kept: list[list[np.ndarray]] = []

    def write_and_keep(path: Path, source: Path, frames) -> None:
        kept.append(list(frames))
        write_video(path, source, kept[-1])

    monkeypatch.setattr("dltool.images.video.write_video", write_and_keep)
    return kept


def test_a_video_is_stylized_and_one_that_was_stopped_ends_equal(clip, style, tmp_path, written) -> None:
    words = ("--steps", 4, "--threads", 1)
    result = run_inside("stylize", clip, "-s", style, "--frames", "-o", tmp_path / "out.mp4", *words, "--json")
    assert result.exit_code == 0, result.stderr
    (item,) = json.loads(result.stdout)["items"]
    assert (item["frames"], item["size"]) == (COUNT, list(SIZE))
    check_kept(tmp_path / "out.mp4", clip)

    job, settings = Job(clip, tmp_path / "again.mp4"), StylizeSettings(steps=4)
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        what = ([job], Style(((style, 1.0),)), network, settings, CPU)
        seen: list[int] = []
        for event in frame_files(*what, should_stop=lambda: seen.count(3) == 2):  # in the midst of the third frame
            seen.append(event.step.number)
        kept = sorted((tmp_path / "again.mp4.frames").glob("*.png"))
        assert len(kept) == 2 and not job.output.exists()
        times = [path.stat().st_mtime_ns for path in kept]
        for event in frame_files(*what):
            if getattr(event, "step", None) is not None:
                assert event.step.number >= 3
                assert [path.stat().st_mtime_ns for path in kept] == times
    assert np.array_equal(*written)
    check_kept(job.output, clip)


def test_strokes_move_with_the_photo(frames, style) -> None:
    settings = StylizeSettings(steps=12, init="noise")
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        targets = StyleTargets(network, to_tensor(np.asarray(Image.open(style))))
        events = list(stylize_frames(frames[:3], targets, network, settings, CPU))
        together = [event.pixels for event in events if isinstance(event, FrameDone)]
        alone = []
        for number, frame in enumerate(frames[:3]):
            own = StylizeSettings(steps=12, init="noise", seed=number)
            events = list(stylize_frames([frame], targets, network, own, CPU))
            alone.append(events[-1].pixels)

    def flicker(results: list[np.ndarray]) -> float:
        """Mean absolute difference along the known motion."""
        pairs = [(a[:, STEP:].astype(int), b[:, :-STEP]) for a, b in pairwise(results)]
        return float(np.mean([np.abs(a - b).mean() for a, b in pairs]))

    assert flicker(together) < flicker(alone) / 3


def test_a_video_is_denoised_and_one_that_was_stopped_ends_equal(frames, tmp_path, written) -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(frame + rng.normal(0, 30, frame.shape), 0, 255).astype(np.uint8) for frame in frames]
    source = write_clip(tmp_path / "noisy.mp4", noisy)
    model = save_smoother(tmp_path / "model.safetensors")
    output = tmp_path / "clean.mp4"
    words = ("ae", "denoise", source, "-o", output, "--model", model, "--threads", 1, "--precision", "fp32")
    result = run_inside(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["items"][0]["frames"] == COUNT
    check_kept(tmp_path / "clean.mp4", source)
    before, after = (
        np.abs(np.stack(list(VideoFrames(path))).astype(int) - np.stack(frames)).mean()
        for path in (source, tmp_path / "clean.mp4")
    )
    assert after < 0.92 * before

    job, denoiser = Job(source, tmp_path / "again.mp4"), load_denoiser(model, CPU)
    what = (job, denoiser, DenoiseSettings(), CPU)
    seen = []
    for event in denoise_video(*what, should_stop=lambda: seen[-1] == 3):  # in the midst of the third frame
        seen.append(event.number)
    assert len(list((tmp_path / "again.mp4.frames").glob("*.png"))) == 2 and not job.output.exists()
    for event in denoise_video(*what):
        assert getattr(event, "step", None) is None or event.number >= 3
    assert np.array_equal(*written)
    check_kept(job.output, source)
    assert "output exists" in run_inside(*words).stderr
    assert "a video goes alone" in run_inside(*words, "--compare", "--overwrite").stderr


def test_a_video_needs_frames_and_stays_a_video(clip, style, tmp_path) -> None:
    for words, message in (
        (("-o", tmp_path / "out.mp4"), "CONTENT is a video; give --frames"),
        (("-o", tmp_path / "out.gif", "--frames"), "a video becomes a .mp4"),
    ):
        result = run_inside("stylize", clip, "-s", style, *words)
        assert result.exit_code == 2 and message in result.stderr

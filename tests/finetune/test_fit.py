"""Images that are no squares: cropped, padded or squashed, by name, in training and wherever the model is used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.backbones.preprocessing import FITS, Preprocessing
from dltool.data.pixels import PixelReader
from dltool.data.splits import FileSplit
from dltool.featmap.network import Network
from dltool.finetune.choices import wide_share
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.score import Scorer
from dltool.finetune.settings import Fit, Strategy
from dltool.images.read import read_image
from dltool.training.events import Notice
from tests.finetune.conftest import CPU, events_of, quick, result_of


def bars(width: int, height: int) -> np.ndarray:
    """Red left end, blue right end, green between."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 1] = 255
    pixels[:, : width // 4], pixels[:, -(width // 4) :] = (255, 0, 0), (0, 0, 255)
    return pixels


def test_what_each_way_shows() -> None:
    shown = {fit: Preprocessing(32, 32, mean=(0.5, 0.5, 0.5), fit=fit).crop_pixels(bars(128, 64)) for fit in FITS}
    assert {pixels.shape for pixels in shown.values()} == {(32, 32, 3)}
    assert (shown["crop"][16, [1, 30]] == (0, 255, 0)).all()  # the middle half alone
    assert (shown["squash"][[0, 31], 1] == (255, 0, 0)).all() and (shown["squash"][[0, 31], 30] == (0, 0, 255)).all()
    assert (shown["pad"][16, 1] == (255, 0, 0)).all() and (shown["pad"][[1, 30], 16] == 128).all()
    assert (shown["pad"][9:23, 16] == (0, 255, 0)).all()  # 16 rows of 32 are image, not distorted


@pytest.mark.parametrize("fit", FITS)
def test_scaling_twice_changes_nothing_and_squares_are_only_scaled(fit: str) -> None:
    preprocessing = Preprocessing(40, 32, fit=fit)
    for size in ((90, 50), (50, 90), (300, 7)):
        once = preprocessing.scale_pixels(bars(*size))
        assert np.array_equal(preprocessing.scale_pixels(once), once)
    tall = preprocessing.crop_pixels(bars(4000, 1))
    assert tall.shape == (32, 32, 3)


def test_a_reader_shares_only_what_is_scaled_alike(tmp_path: Path) -> None:
    Image.fromarray(bars(128, 64)).save(tmp_path / "a.png")
    reader = PixelReader(Preprocessing(40, 32))
    reader.decode(tmp_path / "a.png")
    for fit in FITS:
        wanted = Preprocessing(40, 32, fit=fit)
        read = reader.for_preprocessing(wanted).read_file(tmp_path / "a.png")
        assert np.array_equal(wanted.crop_pixels(read), wanted.crop_pixels(bars(128, 64))), fit


def test_an_unknown_way_in_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="fit 'fold' is none of crop, pad, squash"):
        Preprocessing(fit="fold").check()


@pytest.fixture(scope="module")
def wide(textures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 3 : 1 that tell their class at their left end only."""
    root = tmp_path_factory.mktemp("wide")
    for name in ("brick", "grass"):
        (root / name).mkdir()
        for number, file in enumerate(sorted((textures / name).iterdir())):
            texture = np.asarray(Image.open(file).convert("RGB").resize((64, 64)))
            ground = np.random.default_rng(number).integers(90, 160, (64, 128, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([texture, ground])).save(root / name / f"{number}.png")
    return root


def test_three_ways_three_named_results(wide: Path, cache: Path, tmp_path: Path) -> None:
    answers, image = {}, read_image(wide / "grass" / "3.png").pixels
    for fit in FITS:
        run = tmp_path / fit
        result = result_of(
            events_of(wide, quick(fit=Fit(fit), strategy=Strategy.FEATURES, head_l2=0.1), run, cache=cache)
        )
        classifier, file = load_classifier(run)
        assert (file.settings["fit"], file.preprocessing.fit) == (fit, fit)
        answers[fit] = (result.metrics["loss"], Scorer(classifier, CPU).score_pixels([image]))
        network = Network("own", classifier.module, classifier.preprocessing, classifier.class_names, CPU)
        assert np.array_equal(network.crop(image), classifier.preprocessing.crop_pixels(image))
    losses = {fit: loss for fit, (loss, _) in answers.items()}
    assert losses["squash"] < losses["crop"] and losses["pad"] < losses["crop"]
    assert len({round(loss, 6) for loss in losses.values()}) == 3
    assert not torch.allclose(answers["crop"][1], answers["squash"][1], atol=1e-3)
    assert not torch.allclose(answers["pad"][1], answers["squash"][1], atol=1e-3)


def test_auto_compares_where_most_pictures_are_long(wide: Path, textures: Path, cache: Path) -> None:
    events = events_of(wide, quick(strategy=Strategy.FEATURES, epochs=1), cache=cache)
    said = [event.text for event in events if isinstance(event, Notice)]
    chosen = result_of(events).settings.fit
    assert chosen in (Fit.PAD, Fit.SQUASH)
    assert any("100 % of the pictures are longer than 3 : 2" in t and f": --fit {chosen}" in t for t in said), said
    assert result_of(events).classifier.preprocessing.fit == chosen
    files = tuple(sorted(textures.glob("*/*.png")))
    assert wide_share(FileSplit(files, np.zeros(len(files), int))) == 0
    events = events_of(wide, quick(strategy=Strategy.SCRATCH, epochs=1), cache=cache)
    assert any("--fit pad or squash shows all of them" in e.text for e in events if isinstance(e, Notice))

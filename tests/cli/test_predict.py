"""`dltool predict` as a user types it: model files and outputs that cannot be used are refused before any work."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dltool import outputs
from dltool.backbones.preprocessing import Preprocessing
from dltool.errors import ModelError, SettingsError
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
from dltool.finetune.network import build_classifier
from dltool.finetune.predict import Sorter
from dltool.images.folder import OnExisting
from dltool.images.sorting import SortBy
from dltool.training.model_file import ModelFile, save_model
from tests.cli.run import run_inside

IMAGE = Path(__file__).parents[2] / "sample_images" / "textures" / "brick" / "brick_00.png"


def small_model(**changes: object) -> ModelFile:
    """An untrained small network for three classes of grey images."""
    arguments = {"backbone": "mlp", "num_classes": 3, "in_channels": 1, "image_size": 28, "seed": 0}
    with torch.random.fork_rng():
        module = build_classifier(arguments)
    classifier = TrainedClassifier(module, arguments, ("a", "b", "c"), Preprocessing(resize=28, crop=28))
    return replace(classifier.to_file({}, {}), **changes)


@pytest.mark.parametrize("name", ["../../x", "/x", "a//b", "a/../b", "..", "."])
def test_class_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    save_model(tmp_path / "m.safetensors", small_model(class_names=("a", "b", name)))
    result = run_inside("predict", tmp_path / "m.safetensors", IMAGE, "--sort", tmp_path / "in" / "sorted")
    assert result.exit_code == 4
    assert "cannot be a class's name" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"class_names": ("a", "b")}, "2 class names for 3 answers"),
        ({"class_names": ("a", "b", "b")}, "the same name"),
        ({"arguments": []}, "damaged"),
        ({"arguments": {"num_classes": 3}}, "cannot be built"),
        ({"arguments": {"num_classes": 3, "backbone": "mlp", "in_channels": 1, "image_size": "x"}}, "cannot be built"),
        ({"preprocessing": Preprocessing(mean=(0.5,))}, "preprocessing is damaged"),
        ({"preprocessing": Preprocessing(crop="large")}, "preprocessing is damaged"),
    ],
)
def test_damaged_descriptions_are_refused(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    save_model(tmp_path / "m.safetensors", small_model(**changes))
    with pytest.raises(ModelError, match=text):
        load_classifier(tmp_path / "m.safetensors")


def test_outputs_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    (tmp_path / "file").touch()
    for option, place in (("--sort", "file"), ("--csv", ".")):
        result = run_inside("predict", tmp_path / "m.safetensors", IMAGE, option, tmp_path / place)
        assert result.exit_code == 2
        assert option in result.stderr


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    words = ("predict", tmp_path / "m.safetensors", IMAGE)
    for options, text in (
        (("--threshold", 0.5), "--threshold: has no effect without --sort"),
        (("--sort-by", "link"), "--sort-by: has no effect without --sort"),
        (("--csv", tmp_path / "t.csv", "--skip-existing"), "--skip-existing: has no effect without --sort"),
        (("--overwrite",), "--overwrite: has no effect without --csv or --sort"),
        (("--tta",), "--tta: has no effect with a small network"),
    ):
        for more in ((), ("--dry-run",)):
            result = run_inside(*words, *options, *more)
            assert result.exit_code == 2
            assert text in result.stderr
    (tmp_path / "config.toml").write_text("[predict]\nthreshold = 0.5\ntta = true\n")
    result = run_inside(*words, "--config", tmp_path / "config.toml")
    assert result.exit_code == 0
    assert "note: --threshold: has no effect without --sort" in result.stderr
    assert "note: --tta: has no effect" in result.stderr


def test_a_class_called_unsure_does_not_meet_the_doubtful(tmp_path: Path) -> None:
    Sorter(tmp_path, SortBy.COPY, 0.0, OnExisting.ERROR).check(["sure", "unsure"], [])
    with pytest.raises(SettingsError, match="'unsure' itself"):
        Sorter(tmp_path, SortBy.COPY, 0.5, OnExisting.ERROR).check(["sure", "unsure"], [])


def test_every_row_of_the_table_is_as_long_as_its_head(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    (tmp_path / "broken.png").write_bytes(b"x")
    words = ("predict", tmp_path / "m.safetensors", IMAGE, tmp_path / "broken.png")
    assert run_inside(*words, "--csv", tmp_path / "t.csv", "--top", 2).exit_code == 1
    rows = list(csv.reader((tmp_path / "t.csv").read_text().splitlines()))
    assert [len(row) for row in rows] == [7, 7, 7]


def test_a_dry_run_looks_at_the_model(tmp_path: Path) -> None:
    assert run_inside("predict", tmp_path / "nomodel", IMAGE, "--dry-run").exit_code == 4


def test_files_of_a_kind_that_is_not_read_are_counted_by_every_command(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    folder = tmp_path / "photos"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "raw.jxl").write_bytes(b"jxl")
        for index in range(3):
            source = IMAGE.with_name(f"brick_0{index}.png" if name == "a" else f"brick_0{index + 3}.png")
            (folder / name / f"{index}.png").write_bytes(source.read_bytes())
    for words in (
        ("predict", tmp_path / "m.safetensors", folder),
        ("finetune", folder, "-o", tmp_path / "run", "--dry-run"),
        ("cluster", folder, "-o", tmp_path / "out", "--dry-run", "-k", 2),
        ("ae", "denoise", folder, "-o", tmp_path / "clean", "--dry-run"),
        ("featmap", folder, "-o", tmp_path / "maps", "--dry-run"),
        ("ae", "train", folder, "-o", tmp_path / "coder", "--dry-run"),
    ):
        result = run_inside(*words)
        assert result.exit_code == 0, (words, result.stderr)
        assert "2 files of a kind that is not read: .jxl" in result.output, words


def test_images_are_sorted_over_dltools_own_copies_only(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    words = ["predict", tmp_path / "m.safetensors", IMAGE, "--sort", tmp_path / "sorted", "--overwrite"]
    assert run_inside(*words).exit_code == 0
    (copy,) = tmp_path.glob("sorted/*/*.png")
    assert run_inside(*words).exit_code == 0
    (tmp_path / "sorted" / outputs.MARKER).unlink()
    copy.write_text("mine")
    refused = run_inside(*words)
    assert refused.exit_code == 2 and "choose another --sort" in refused.stderr
    assert copy.read_text() == "mine"

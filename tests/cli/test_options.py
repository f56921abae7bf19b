from pathlib import Path

import pytest

from dltool.cli.options import on_existing, parse_seconds, split_names
from dltool.errors import SettingsError
from dltool.images.folder import OnExisting
from tests.cli.run import run_inside

SAMPLES = Path(__file__).parents[2] / "sample_images"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("5m", 300), ("1.5h", 5400), (None, None)])
def test_durations(text: str | None, seconds: float | None):
    assert parse_seconds(text, "--time") == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3s", "5 minutes", "m"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(SettingsError, match=r"--time .*give 30s, 5m or 1h"):
        parse_seconds(text, "--time")


def test_names_are_split_at_commas():
    assert split_names(" a, b,,c.1 ", "--layers") == ("a", "b", "c.1")
    assert split_names(None, "--layers") == ()
    with pytest.raises(SettingsError, match="--layers ',': names no layer"):
        split_names(",", "--layers")


def test_overwrite_and_skip_exclude_each_other():
    assert on_existing(False, False) is OnExisting.ERROR
    assert on_existing(True, False) is OnExisting.OVERWRITE
    assert on_existing(False, True) is OnExisting.SKIP
    with pytest.raises(SettingsError, match="choose one"):
        on_existing(True, True)


@pytest.mark.parametrize(
    ("choice", "code", "text"),
    [
        (("--device", "cuda:77"), 5, "not on this machine"),
        (("--device", "gpu"), 2, "not a device"),
        (("--backbone", "resnet81"), 2, "did you mean 'resnet18'"),
        (("--backbone", "timm:resnet81"), 2, "no such network; did you mean 'timm:resnet"),
    ],
)
def test_a_dry_run_tells_of_a_device_or_network_that_is_not_there(choice, code: int, text: str, tmp_path: Path):
    photo, style = SAMPLES / "photos" / "china.jpg", SAMPLES / "styles" / "sea_storm.jpg"
    for words in (
        ("stylize", photo, "-s", style, "-o", tmp_path / "out.png"),
        ("finetune", SAMPLES / "textures", "-o", tmp_path / "run"),
        ("featmap", photo, "--layer", "blocks.0", "-o", tmp_path / "maps"),
    ):
        result = run_inside(*words, "--dry-run", *choice)
        assert result.exit_code == code, (words, result.output)
        assert text in " ".join(result.output.split())

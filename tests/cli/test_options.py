from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest

from dltool.cli.command import make_settings
from dltool.cli.options import Outputs
from dltool.errors import SettingsError
from dltool.gan.settings import GanSettings
from dltool.images.folder import OnExisting
from dltool.settings import Option, Typed, as_plain, check_options, read_names, read_seconds, settings_of
from tests.cli.run import run_inside

SAMPLES = Path(__file__).parents[2] / "sample_images"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("5m", 300), ("1.5h", 5400)])
def test_durations(text: str, seconds: float):
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3s", "5 minutes", "m"])
def test_what_is_no_duration_is_refused(text: str):
    values = dict.fromkeys(settings_of(GanSettings)) | {"time": text}
    with pytest.raises(SettingsError, match=r"--time .*give 30s, 5m or 1h"):
        make_settings(GanSettings, values)


def test_names_are_split_at_commas():
    assert read_names(" a, b,,c.1 ") == ("a", "b", "c.1")
    with pytest.raises(ValueError, match="names nothing"):
        read_names(",")


def test_overwrite_and_skip_exclude_each_other():
    assert Outputs().on_existing is OnExisting.ERROR
    assert Outputs(overwrite=True).on_existing is OnExisting.OVERWRITE
    assert Outputs(skip_existing=True).on_existing is OnExisting.SKIP
    with pytest.raises(SettingsError, match="choose one"):
        Outputs(overwrite=True, skip_existing=True)


def test_a_typed_option_without_effect_is_refused_one_from_a_file_is_not():
    typed = Typed({"epochs": "--epochs", "gamma": "--gamma"}, frozenset({"gamma"}))
    assert "epochs" in typed and "lr" not in typed
    typed.refuse({"epochs": "with --time", "lr": "with --time"})
    with pytest.raises(SettingsError, match="--gamma: has no effect without --arch modern; leave it out"):
        typed.refuse({"gamma": "without --arch modern"})


class Kind(StrEnum):
    ONE = "one"
    TWO = "two"


@dataclass(frozen=True)
class Sample:
    kind: Annotated[Kind, Option("Which.")] = Kind.ONE
    steps: Annotated[int | None, Option("How many.", min=1)] = None
    decay: Annotated[float, Option("How fast.", above=0, max=1, flags=("--decay", "-d"))] = 1.0
    sizes: Annotated[tuple[int, ...], Option("How large.", min=8)] = ()
    place: Annotated[Path | None, Option("Where.")] = None
    hidden: int = 3

    __post_init__ = check_options


def test_what_was_written_as_plain_values_is_read_back():
    sample = Sample(Kind.TWO, 5, 0.5, (8, 16), Path("a/b"), 4)
    assert Sample(**as_plain(sample)) == sample
    assert as_plain(sample) == {
        **{"kind": "two", "steps": 5, "decay": 0.5, "sizes": [8, 16], "place": "a/b", "hidden": 4}
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "thre"}, "--kind thre: one of one, two is needed"),
        ({"kind": "tow"}, "--kind tow: one of one, two is needed; did you mean 'two'?"),
        ({"steps": 0}, "--steps 0: at least 1 is needed"),
        ({"decay": 0.0}, "--decay 0: above 0 and at most 1 is needed"),
        ({"decay": float("nan")}, "--decay nan: above 0"),
        ({"sizes": (16, 4)}, "--sizes 4: at least 8 is needed"),
        ({"decay": None}, "--decay: a value is needed"),
    ],
)
def test_values_out_of_range_are_refused_by_name(values: dict[str, object], message: str):
    with pytest.raises(SettingsError) as refusal:
        Sample(**values)
    assert message in str(refusal.value)


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

import pytest

from dltool.cli.options import on_existing, parse_seconds, split_names
from dltool.errors import SettingsError
from dltool.images.folder import OnExisting


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("5m", 300), ("1.5h", 5400), (None, None)])
def test_durations(text: str | None, seconds: float | None):
    assert parse_seconds(text, "--time") == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3s", "5 minutes", "m"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(SettingsError, match=r"--time .*give 30s, 5m or 1h"):
        parse_seconds(text, "--time")


def test_names_are_split_at_commas():
    assert split_names(" a, b,,c.1 ") == ("a", "b", "c.1")
    assert split_names(None) == ()


def test_overwrite_and_skip_exclude_each_other():
    assert on_existing(False, False) is OnExisting.ERROR
    assert on_existing(True, False) is OnExisting.OVERWRITE
    assert on_existing(False, True) is OnExisting.SKIP
    with pytest.raises(SettingsError, match="choose one"):
        on_existing(True, True)

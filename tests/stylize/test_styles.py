from pathlib import Path

import pytest

from dltool.errors import DataError, SettingsError
from dltool.stylize.styles import Style, parse_styles


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.png", "sub/a.jpg", "a.png", "odd:2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_with_weights_are_one_blend(gallery: Path):
    words = [f"{gallery}/a.jpg:2", f"{gallery}/b.png", f"{gallery}/a.png:.5"]
    expected = ((gallery / "a.jpg", 2.0), (gallery / "b.png", 1.0), (gallery / "a.png", 0.5))
    assert parse_styles(words) == [Style(expected)]
    assert parse_styles([f"{gallery}/odd:2.png"]) == [Style(((gallery / "odd:2.png", 1.0),))]


def test_a_folder_is_every_image_alone_under_names_that_differ(gallery: Path):
    styles = parse_styles([str(gallery)])
    assert sorted(style.name for style in styles) == ["a.jpg", "a.png", "b", "odd:2", "sub_a"]
    assert all(len(style.images) == 1 for style in styles)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["{}/none.jpg"], DataError, "none.jpg: no such file"),
        (["{}/none.jpg:2"], DataError, "none.jpg: no such file"),
        (["{}/a.jpg:two"], SettingsError, "'two' is no weight"),
        (["{}/a.jpg:0"], SettingsError, "a number above 0"),
        (["{}/a.jpg:inf"], SettingsError, "a number above 0"),
        (["{}", "{}/a.jpg"], SettingsError, "give nothing else"),
        (["{}:2"], SettingsError, "a folder takes no weight"),
    ],
)
def test_what_is_no_style_is_refused(gallery: Path, words: list[str], error: type, message: str):
    with pytest.raises(error, match=message):
        parse_styles([word.format(gallery) for word in words])

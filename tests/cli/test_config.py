import json
from pathlib import Path

import pytest

from tests.cli.run import run_inside


@pytest.fixture
def words(tmp_path: Path, sample_images: Path) -> list[object]:
    """A command that plans its work and reports the settings without doing it."""
    photo, style = sample_images / "photos" / "cat.jpg", sample_images / "styles" / "retina.jpg"
    return ["stylize", photo, "-s", style, "-o", tmp_path / "out.png", "--dry-run", "--json"]


def _settings(*words: object) -> dict:
    result = run_inside(*words)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["settings"]


def test_values_come_by_option_name_and_flags_win(tmp_path: Path, words: list[object]):
    (tmp_path / "c.toml").write_text(
        '[stylize]\nsize = 300\ncontent-weight = 0.5\noptimizer = "adam"\ntime = "5m"\nstyle-layers = "bn1,blocks.1"\n'
    )
    settings = _settings(*words, "--config", tmp_path / "c.toml", "--size", 200)
    assert settings["size"] == 200
    assert settings["content_weight"] == 0.5
    assert settings["optimizer"] == "adam"
    assert settings["time"] == 300
    assert settings["style_layers"] == ["bn1", "blocks.1"]


def test_required_options_and_arguments_may_come_from_the_file(tmp_path: Path, words: list[object]):
    lines = [
        f'content = "{words[1]}"',
        f'style = ["{words[3]}"]',
        'style-layers = ["bn1", "blocks.1"]',
        f'output = "{words[5]}"',
        "dry-run = true",
        "json = true",
    ]
    (tmp_path / "c.toml").write_text("[stylize]\n" + "\n".join(lines))
    result = run_inside("stylize", "--config", tmp_path / "c.toml", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["items"][0]["status"] == "planned"
    assert json.loads(result.stdout)["settings"]["style_layers"] == ["bn1", "blocks.1"]


def test_an_option_of_one_letter_goes_by_it(tmp_path: Path):
    (tmp_path / "c.toml").write_text("[cluster]\nk = 3")
    words = ("cluster", "blobs", "-o", tmp_path / "out", "--dry-run", "--json", "--config", tmp_path / "c.toml")
    assert json.loads(run_inside(*words).stdout)["settings"]["k"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[stylize]\nsise = 3", "stylize has no option 'sise'; did you mean 'size'?"),
        ("[stylize]\nsize = 'big'", "--size big: pixels"),
        ("[finetune]\nsize = 3", "no table [stylize] in this file"),
        ("[stylize", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file_are_one_line_and_exit_2(tmp_path: Path, words: list[object], text: str, message: str):
    (tmp_path / "c.toml").write_text(text)
    result = run_inside(*words, "--config", tmp_path / "c.toml")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_named(words: list[object]):
    result = run_inside(*words, "--config", "nowhere.toml")
    assert result.exit_code == 2
    assert "nowhere.toml: cannot be read" in result.stderr

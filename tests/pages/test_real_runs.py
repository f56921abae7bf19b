"""Pages of runs that the commands themselves made."""

import json
import re
from pathlib import Path
from typing import Any

from tests.cli.run import run_inside


def make_run(*words: object) -> str:
    """Run a command, which must succeed and say where its page is; return what it said."""
    done = run_inside(*words, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    return done.stderr


def page_data(run: Path) -> dict[str, Any]:
    """What a page has for its script."""
    return json.loads(re.search(r'id="data">(.*?)</script>', (run / "index.html").read_text(), re.S)[1])


def test_a_generator(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("gan", "train", "digits", "--epochs", 2, "--limit", 20, "--arch", "mlp")
    assert f"page {run / 'index.html'}" in make_run(*words, "-o", run, "--watch-page")
    slides = page_data(run)["slides"]
    assert [slide["image"] for slide in slides] == ["samples/epoch-001.png", "samples/epoch-002.png"]
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for slide, row in zip(slides, history, strict=True):
        assert slide["text"].startswith(f"epoch {row['epoch']}: generator loss {row['g_loss']:.3f}")
    text = (run / "index.html").read_text()
    assert 'src="nearest.png"' in text and "refresh" not in text
    assert "page" not in make_run(*words, "-o", tmp_path / "bare", "--no-page")
    assert not (tmp_path / "bare" / "index.html").exists()


def test_an_autoencoder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run("ae", "train", "digits", "-o", run, "--epochs", 1, "--limit", 60, "--noise", "gaussian:0.3")
    assert [slide["epoch"] for slide in page_data(run)["slides"]] == [1]
    text = (run / "index.html").read_text()
    assert text.count('class="divide"') == 10
    for view in ("clean", "noisy", "restored"):
        assert (run / "samples" / f"best-10-{view}.png").is_file()
    said = re.findall(r"with noise (\d+\.\d) dB, restored", text)
    assert len(said) == 10 and all(8 < float(decibel) < 16 for decibel in said)  # of noise of 0.3, clipped


def test_watching_nothing_is_refused(tmp_path: Path) -> None:
    done = run_inside("ae", "train", "digits", "-o", tmp_path / "run", "--no-page", "--watch-page")
    assert done.exit_code == 2 and "--watch-page: has no effect with --no-page" in done.stderr

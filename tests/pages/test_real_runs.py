"""Pages of runs that the commands themselves made."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dltool.gan import settings
from tests.cli.run import run_inside
from tests.pages import runs


def make_run(*words: object) -> str:
    """Run a command, which must succeed and say where its page is; return what it said."""
    done = run_inside(*words, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    return done.stderr


def page_data(run: Path) -> dict[str, Any]:
    """What a page has for its script."""
    return json.loads(re.search(r'id="data">(.*?)</script>', (run / "index.html").read_text(), re.S)[1])


def test_a_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SHORTEST_EPOCH", 64)
    run = tmp_path / "run"
    words = ("gan", "train", "digits", "--epochs", 2, "--limit", 9, "--arch", "mlp")
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
    make_run(
        "ae", "train", "digits", "-o", run, "--epochs", 1, "--batch-size", 4, "--limit", 60, "--noise", "gaussian:0.3"
    )
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


def test_a_clustering_of_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = []
    for number in range(24):
        names.append(f"{number}.png" if number else runs.ONERROR)
        runs.draw(tmp_path / "photos" / names[-1], 5 * number + (120 if number % 2 else 0))
    said = make_run("cluster", tmp_path / "photos", "-o", out, "-k", 2, "--features", "pixels", "--size", 8)
    assert f"page {out / 'index.html'}" in said
    data = page_data(out)
    assert sorted(data["files"]) == sorted(names) and None not in data["places"]
    assert len({data["groups"][data["files"].index(name)] for name in names[::2]}) == 1  # the dark ones
    shades = [runs.shade_of(out / image) for image in data["images"]]
    wanted = [5 * names.index(name) + (120 if names.index(name) % 2 else 0) for name in data["files"]]
    assert all(abs(shade - want) <= 2 for shade, want in zip(shades, wanted, strict=True))


def test_a_clustering_of_a_set_by_name_and_one_of_points(tmp_path: Path) -> None:
    digits, points = tmp_path / "digits", tmp_path / "points"
    make_run("cluster", "digits", "-o", digits, "-k", 3, "--features", "pixels", "--limit", 60)
    data = page_data(digits)
    first = int(data["files"][0].removeprefix("digits/"))
    with Image.open(digits / data["images"][0]) as image:
        thumbnail = np.asarray(image.convert("L"))
    assert np.array_equal(thumbnail, np.rint(load_digits().images[first] * (255 / 16)))
    make_run("cluster", "blobs", "-o", points, "-k", 3)
    data = page_data(points)
    assert data["images"] is None and len(data["files"]) == 500 == sum(place is not None for place in data["places"])
    assert "<img" not in (points / "index.html").read_text().split("<script")[0]
    assert "index.html" not in [p.name for p in tmp_path.iterdir()]
    make_run("cluster", "blobs", "-o", tmp_path / "bare", "-k", 3, "--no-page")
    assert not (tmp_path / "bare" / "index.html").exists()


def test_a_classifier_and_what_it_is_worth(tmp_path: Path) -> None:
    run, measured = tmp_path / "run", tmp_path / "measured"
    words = ("finetune", "digits", "-o", run, "--limit", 200, "--backbone", "mlp", "--epochs", 2)
    assert f"page {run / 'index.html'}" in make_run(*words, "--watch-page")
    _check_answers(run)
    assert (run / "index.html").read_text().count("<polyline") == 4  # loss of train and val, accuracy, calibration
    assert f"page {measured / 'index.html'}" in make_run("evaluate", run, "digits", "-o", measured, "--limit", 200)
    _check_answers(measured)
    results = json.loads((measured / "results.json").read_text())
    assert results["command"] == "evaluate" and set(map(Path, results["files"])) <= set(measured.iterdir())
    done = run_inside("evaluate", run, "digits", "--no-page")
    assert done.exit_code == 2 and "--no-page: has no effect without -o" in done.stderr


def _check_answers(run: Path) -> None:
    """Every cell of the matrix has as many images as it says, and each image is the digit that its row says."""
    data = page_data(run)
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    digits = load_digits()
    shown = np.zeros((10, 10), int)
    for name, truth, answer, address in zip(
        *(data[column] for column in ("files", "truth", "answer", "images")), strict=True
    ):
        number = int(name.removeprefix("digits/"))
        assert digits.target[number] == int(data["classes"][truth])
        with Image.open(run / address) as image:
            assert np.array_equal(np.asarray(image.convert("L")), np.rint(digits.images[number] * (255 / 16)))
        shown[truth, answer] += 1
    assert shown.tolist() == metrics["confusion"] and shown.sum() == metrics["samples"]


def test_restyled_photos_and_a_grid(tmp_path: Path) -> None:
    photos, style = tmp_path / "photos", runs.draw(tmp_path / "style.png", 90, (40, 30))
    for name in ("a.png", "b.png"):
        runs.draw(photos / name, 200, (40, 30))
    words = ("stylize", "-s", style, "--size", 32, "--steps", 2, "--weights", "none")
    out, grid = tmp_path / "out", tmp_path / "grid"
    assert f"page {out / 'index.html'}" in make_run(*words, photos, "-o", out)
    text = (out / "index.html").read_text()
    assert text.count('class="divide"') == 2 and "2 steps for each" in text and 'alt="style image style.png"' in text
    # Killed before the page was there; with the page nothing is new.
    (out / "index.html").unlink()
    assert "page " in make_run(*words, photos, "-o", out, "--skip-existing")
    assert _page_text(out).count('class="divide"') == 2
    assert "page " not in make_run(*words, photos, "-o", out, "--skip-existing")
    one = tmp_path / "one.png"
    assert "page" not in make_run(*words, photos / "a.png", "-o", one) and not (tmp_path / "index.html").exists()
    done = run_inside(*words, photos / "a.png", "-o", tmp_path / "two.png", "--no-page")
    assert done.exit_code == 2 and "--no-page: has no effect" in done.stderr
    layers = ("--grid", "--grid-layers", "blocks.0.0,blocks.1.0", "--grid-ratios", "1,10")
    make_run(*words, *layers, photos / "a.png", "-o", grid)
    cells = json.loads((grid / "index_files" / "results.json").read_text())["items"][0]["cells"]
    with Image.open(grid / "a.png") as sheet:
        for cell, name in zip(cells, re.findall(r'class="under" src="([^"]+)"', _page_text(grid)), strict=True):
            left, top, width, height = cell["box"]
            assert (width, height) == (32, 24)
            with Image.open(grid / name) as shown:
                assert np.array_equal(np.asarray(shown), np.asarray(sheet)[top : top + height, left : left + width])


def _page_text(run: Path) -> str:
    return (run / "index.html").read_text()


def test_a_look_into_a_network(tmp_path: Path) -> None:
    out, photo = tmp_path / "out", runs.draw(tmp_path / "a b.png", 99, (64, 64))
    words = ("--weights", "none", "--size", 64)
    make_run("featmap", photo, "-o", out, "--layer", "conv_stem", "--layer", "blocks.1.0", *words)
    assert f"page {out / 'index.html'}" in make_run("featmap", photo, "-o", out, "-m", "gradcam,saliency", *words)
    text = _page_text(out)
    assert 'src="a%20b/conv_stem.png"' in text and text.count('type="radio"') == 4
    (out / "index.html").unlink()
    make_run("featmap", photo, "-o", out, "-m", "gradcam,saliency", *words, "--skip-existing")
    assert _page_text(out).count('type="radio"') == 4
    make_run("featmap", "--filters", "-o", out, "--weights", "none")
    assert 'src="filters.png"' in _page_text(out) and "a%20b/conv_stem.png" in _page_text(out)
    make_run("featmap", photo, "-o", tmp_path / "one.png", "--layer", "conv_stem", *words)
    assert not (tmp_path / "index.html").exists()
    done = run_inside("featmap", "--list-layers", "--no-page")
    assert done.exit_code == 2 and "--no-page: has no effect" in done.stderr

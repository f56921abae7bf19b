"""`dltool featmap` as a user runs it: what it writes, says, refuses, and its exit codes."""

import json

import numpy as np
import pytest
from PIL import Image

from dltool.images.colormap import overlay
from tests.cli.run import run_inside

SMALL = ("--backbone", "squeezenet1_0", "--weights", "none", "--size", "64", "--threads", "1")


def featmap(*words):
    return run_inside("featmap", *words)


@pytest.fixture
def cat(sample_images):
    return sample_images / "photos" / "cat.jpg"


def test_bundled_backbone_draws_maps_and_calls_the_cat_a_cat(cat, tmp_path) -> None:
    result = featmap(cat, "-o", tmp_path / "out", "--gif", "--raw", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    (item,) = document["items"]
    assert "cat" in item["top"][0]["class"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["pictures"]
    for entry in manifest:
        path = tmp_path / "out" / entry["output"]
        assert path.stat().st_size > 1000
        assert entry["network"] == "efficientnet_lite0"
    sheets = {entry["layer"]: entry for entry in manifest if entry["kind"] == "maps"}
    assert sheets["conv_stem"]["shape"] == [32, 112, 176]
    assert list(sheets)[-1] == "bn2"
    arrays = np.load(tmp_path / "out" / "cat" / "maps.npz")
    assert set(arrays) == set(sheets)
    assert arrays["bn2"].shape == (1280, 7, 11)
    with Image.open(tmp_path / "out" / "cat" / "depth.gif") as gif:
        assert gif.n_frames == len(sheets)
    with Image.open(tmp_path / "out" / "cat.maps.png") as page:
        assert page.width > 900


@pytest.mark.test_data
def test_first_convolution_of_a_trained_vgg16(cat, tmp_path, test_data) -> None:
    weights = test_data / "weights" / "vgg16_features_imagenet_fp16.safetensors"
    words = ("--size", 100, "--backbone", "vgg16", "--weights", weights, "--quiet")
    result = featmap(cat, *words, "--channels", "16", "--layer", "features.0", "--fit", "crop", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["pictures"]
    assert entry["shape"] == [64, 100, 100]
    assert len(entry["channels"]) == 16
    lacking = featmap(cat, *words, "--layer", "classifier.0", "-o", tmp_path / "no")
    assert lacking.exit_code == 4
    assert "lacks classifier.0" in lacking.stderr
    explained = featmap(cat, *words, "--method", "gradcam", "-o", tmp_path / "no")
    assert explained.exit_code == 4
    assert not (tmp_path / "no").exists()


def test_explanations_side_by_side_with_scores(cat, tmp_path) -> None:
    out = tmp_path / "out"
    words = ("-m", "gradcam,saliency", "-c", "tiger cat", "-c", "287", "--contrast", "--score", "--raw", "--size", 64)
    result = featmap(cat, "-o", out, *words, "--threads", 1, "--json")
    assert result.exit_code == 0, result.output
    entries = [e for e in json.loads((out / "manifest.json").read_text())["pictures"] if e["kind"] == "overlay"]
    assert [(e["method"], e["class"], e["against"]) for e in entries] == [
        (method, name, against)
        for name, against in (("tiger cat", None), ("lynx", None), ("tiger cat", "lynx"), ("lynx", "tiger cat"))
        for method in ("gradcam", "saliency")
    ]
    assert all(-1 <= e["score"]["gain"] <= 1 for e in entries)
    assert len(np.load(out / "cat" / "why.npz").files) == 8
    assert entries[0]["layer"] == "bn2"
    assert entries[1]["layer"] is None


def test_folder_with_bad_odd_and_nested_images(sample_images, tmp_path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (1, 1), "red").save(folder / "one.png")
    Image.new("L", (40, 30), 90).save(folder / "grey.png")
    Image.new("RGBA", (30, 40), (0, 0, 255, 100)).save(folder / "deep" / "rgba.png")
    whole = (sample_images / "photos" / "cat.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    out = tmp_path / "out"
    result = featmap(folder, "-o", out, *SMALL, "--layer", "features.0", "--layer", "classifier.1", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["counts"] == {"done": 3, "skipped": 0, "failed": 2}
    failed = {item["input"].rpartition("/")[2] for item in document["items"] if item["status"] == "failed"}
    assert failed == {"cut.jpg", "text.jpg"}
    assert (out / "deep" / "rgba.maps.png").exists()
    assert (out / "one" / "classifier.1.png").exists()
    again = featmap(folder, "-o", out, *SMALL, "--layer", "features.0", "--skip-existing", "--json")
    assert json.loads(again.stdout)["counts"]["skipped"] == 3
    refused = featmap(folder, "-o", out, *SMALL)
    assert refused.exit_code == 2
    assert "output exists" in refused.stderr


def test_batches_change_nothing(sample_images, tmp_path) -> None:
    pages = []
    for size in ("1", "3"):
        out = tmp_path / size
        words = (*SMALL, "-m", "gradcam,smoothgrad", "--raw", "--samples", 2, "--batch-size", size, "-q")
        assert featmap(sample_images / "photos", "-o", out, *words).exit_code == 0
        pages.append({path.parent.name: np.load(path) for path in out.rglob("why.npz")})
    assert len(pages[0]) == 6
    for name, arrays in pages[0].items():
        for key in arrays:
            np.testing.assert_allclose(arrays[key], pages[1][name][key], rtol=2e-3, atol=1e-6)


def test_layers_as_json_and_as_a_table(tmp_path) -> None:
    result = featmap("--list-layers", *SMALL, "--json")
    document = json.loads(result.stdout)
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["features.0"]["shapes"] == [[96, 29, 29]]
    assert layers["features.0"]["receptive_field"] == 7
    assert layers["classifier.3"]["receptive_field"] == "all"
    assert document["parameters"] == 1_248_424
    table = featmap("--list-layers", *SMALL, "--layer", "features.1?").stdout.splitlines()
    assert [line.split()[0] for line in table[1:-1]] == ["features.10", "features.11", "features.12"]


def test_pages_of_the_network_alone(tmp_path) -> None:
    out = tmp_path / "out"
    assert featmap("--filters", "-o", out, *SMALL).exit_code == 0
    assert featmap("--maximize", "features.3:5", "--maximize", "7", "-o", out, *SMALL, "--steps", 2).exit_code == 0
    names = {path.name for path in out.rglob("*.png")}
    assert names == {"filters.png", "maximize.png", "features.3.5.png", "cock.png"}
    assert featmap("--filters", "-o", out, *SMALL).exit_code == 2
    kinds = [entry["kind"] for entry in json.loads((out / "manifest.json").read_text())["pictures"]]
    assert kinds == ["filters", "maximize", "maximize"]


def test_dream(cat, tmp_path) -> None:
    words = ("--dream", "features.3", "--backbone", "squeezenet1_0", "--weights", "none", "--size", 80, "--steps", 1)
    assert featmap(cat, *words, "-o", tmp_path / "dream.png").exit_code == 0
    with Image.open(tmp_path / "dream.png") as image, Image.open(cat) as original:
        assert max(image.size) == 80
        assert image.width / image.height == pytest.approx(original.width / original.height, rel=0.03)


def test_a_photo_is_explained_whole_and_what_is_not_there_looks_like_nothing(cat, tmp_path) -> None:
    out = tmp_path / "out"
    result = featmap(cat, "-o", out, "-m", "gradcam", "-c", "tench", "-c", "Egyptian", "--threads", 1)
    assert result.exit_code == 0, result.output
    entries = {e["class"]: e for e in json.loads((out / "manifest.json").read_text())["pictures"] if "class" in e}
    assert entries["tench"]["shape"] == [224, 352] and entries["tench"]["remark"] == "next to nothing"
    assert entries["Egyptian cat"]["remark"] is None
    with Image.open(cat) as image:
        photo = np.asarray(image.convert("RGB"))
    for name, seen in (("tench", False), ("Egyptian cat", True)):
        with Image.open(entries[name]["output"]) as image:
            drawn = np.asarray(image)[: len(photo)]  # below is the scale
        assert drawn.shape == photo.shape
        nothing = overlay(photo, np.zeros(photo.shape[:2]), "turbo", 0.5)
        assert bool(np.abs(drawn.astype(int) - nothing).max() > 60) is seen


def test_cam_of_a_layer_without_a_map_names_those_that_have_one(cat, tmp_path) -> None:
    for layer in ("classifier", "global_pool"):
        result = featmap(cat, "-o", tmp_path / "out", "-m", "layercam", "--layer", layer, "--threads", 1)
        assert result.exit_code == 2
        assert f"--layer {layer}: its output is no map" in result.stderr and "one: bn2, blocks.5.3" in result.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--layer", "features.99"), 2, "--layer features.99: no such layer; did you mean 'features.9'"),
        (("--layer", "feature.3"), 2, "did you mean 'features.3'"),
        (("--layer", "features.3", "--channels", "999,"), 2, "has channels 0 to 127"),
        (("--channels", "many"), 2, "--channels many"),
        (("--method", "gradcan"), 2, "did you mean 'gradcam'"),
        (("--method", "gradcam", "--class", "2000"), 2, "classes are 0 to 999"),
        (("--method", "gradcam", "--filters"), 2, "one at a time"),
        (("--colormap", "virids"), 2, "did you mean 'viridis'"),
        (("--method", "gradcam", "--gif"), 2, "--gif: has no effect with --method"),
        (("--size", "3"), 2, "--size 3: squeezenet1_0 cannot take it"),
        (("--method", "gradcam", "--layer", "a", "--layer", "b"), 2, "--layer b: --method looks at one layer"),
        (("--contrast", "--class", "1"), 2, "--contrast: exactly two --class options are needed"),
    ],
)
def test_refusals_say_what_to_do(cat, tmp_path, words, code: int, message: str) -> None:
    result = featmap(cat, "-o", tmp_path / "out", *SMALL, *words)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_model_file_that_is_not_there(cat, tmp_path) -> None:
    result = featmap(cat, "-o", tmp_path / "out", "--model", "none.safetensors")
    assert result.exit_code == 4, result.output
    assert "none.safetensors" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


IMAGE = "cat"  # stands for the photo


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((IMAGE, "--alpha", "0.2"), "--alpha: has no effect without --method"),
        ((IMAGE, "--steps", "5"), "--steps: has no effect without --method or --maximize or --dream"),
        ((IMAGE, "--class", "tabby", "--channels", "3"), "--channels: has no effect with --class"),
        ((IMAGE, "--dream", "bn2", "--scale", "each"), "--scale: has no effect with --dream"),
        (("--filters", "--fit", "crop"), "--fit: has no effect with --filters"),
        ((IMAGE, "-m", "gradcam", "--samples", "5"), "--samples: has no effect without --method smoothgrad"),
        ((IMAGE, "-m", "saliency", "--window", "5"), "--window: has no effect without --method occlusion"),
        ((IMAGE, "-m", "all,gradcam", "-m", "saliency", "--gif"), "--gif: has no effect with --method"),
        ((IMAGE, "-m", "saliency", "--layer", "bn2"), "--layer: has no effect without a --method that looks at one"),
        ((IMAGE, "--dream", "bn2", "--layer", "bn2"), "--layer: has no effect with --dream, which names its layer"),
        ((IMAGE, "--dream", "bn2", "--batch-size", "2"), "--batch-size: has no effect with --dream"),
        ((IMAGE, "--model", "run", "--weights", "none"), "--weights: has no effect with --model"),
        (("--filters", "--class", "tabby"), "--class: has no effect with --filters"),
        (("--maximize", "tabby", "--raw"), "--raw: has no effect with --maximize"),
        (("--maximize", "tabby", "-j", "0"), "--workers: has no effect with --maximize"),
        (("--list-layers",), "--output: has no effect with --list-layers"),
    ],
)
def test_what_has_no_effect_is_refused_in_dry_runs_too(cat, tmp_path, words, message: str) -> None:
    result = featmap(*(cat if word == IMAGE else word for word in words), "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_what_has_no_effect_may_stand_in_a_file(cat, tmp_path) -> None:
    (tmp_path / "c.toml").write_text('[featmap]\nalpha = 0.3\nsamples = 9\ncolormap = "magma"\n')
    words = (cat, "-o", tmp_path / "out", "--config", tmp_path / "c.toml", "--dry-run", "--json")
    maps = json.loads(featmap(*words).stdout)["settings"]
    assert (maps["colormap"], maps["channels"]) == ("magma", {"count": 16, "indices": []})
    why = json.loads(featmap(*words, "-m", "smoothgrad").stdout)["settings"]
    assert (why["alpha"], why["samples"], why["methods"]) == (0.3, 9, ["smoothgrad"])


def test_foreign_manifest_is_refused_before_any_work(cat, tmp_path) -> None:
    (tmp_path / "manifest.json").write_text("[]")
    result = featmap(cat, "-o", tmp_path, *SMALL)
    assert result.exit_code == 3
    assert "not a manifest of dltool featmap" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_missing_parts_of_the_command_line(cat, tmp_path) -> None:
    assert "-o: say where" in featmap(cat).stderr
    assert "IMAGE: name at least one" in featmap("-o", tmp_path).stderr
    assert "looks at the network alone" in featmap(cat, "--filters", "-o", tmp_path).stderr
    assert featmap(tmp_path / "none.jpg", "-o", tmp_path / "out").exit_code == 3
    dry = featmap(cat, "-o", tmp_path / "out", "--dry-run")
    assert dry.exit_code == 0
    assert "planned" in dry.stdout
    assert not (tmp_path / "out").exists()

"""Every command on the pretend card does what it does on the CPU."""

import json
from pathlib import Path

import pytest

from dltool.featmap.settings import Method
from tests.pretend.conftest import AE, FEATURES, FINETUNE, GAN, SHALLOW, UNET
from tests.pretend.runs import assert_same, on_both, run_on_card, run_on_cpu

pytestmark = pytest.mark.usefixtures("narrow_vgg")


@pytest.mark.parametrize("strategy", ["features", "auto", "scratch", "full", "partial", "two-phase"])
def test_finetune(tmp_path: Path, textures: Path, small: tuple[object, ...], strategy: str):
    words = FEATURES if strategy == "features" else (*FINETUNE, "--strategy", strategy)
    if strategy in ("full", "partial", "two-phase"):
        words += small
    elif strategy == "scratch":
        words += small[:2]
    assert_same(*on_both(tmp_path, "finetune", textures, *words))


def test_finetune_of_a_small_network(tmp_path: Path):
    words = ("digits", "--backbone", "cnn", "--limit", 60, "--epochs", 1, "--precision", "fp32", "--no-page")
    assert_same(*on_both(tmp_path, "finetune", *words))


def test_predict_and_evaluate(tmp_path: Path, textures: Path, trained: dict[str, Path]):
    asked = ("predict", trained["classifier"], textures / "grass", "--precision", "fp32", "--tta")
    run_on_cpu(*asked, "--csv", tmp_path / "cpu.csv")
    run_on_card(*asked, "--csv", tmp_path / "card.csv")
    assert (tmp_path / "cpu.csv").read_bytes() == (tmp_path / "card.csv").read_bytes()
    cpu, card = on_both(tmp_path, "evaluate", trained["classifier"], textures, "--no-cache", "--no-page")
    assert_same(cpu, card)
    assert json.loads((card / "results.json").read_text())["settings"]["precision"] == "fp32"


def test_featmap_why(tmp_path: Path, sample_images: Path):
    words = ("--method", ",".join(Method), "--layer", "blocks.1.0", "--samples", 2, "--window", 32, "--size", 64)
    cpu, card = on_both(tmp_path, "featmap", sample_images / "photos" / "cat.jpg", *words, "--no-page")
    assert_same(cpu, card)
    made = json.loads((card / "manifest.json").read_text())["pictures"]
    assert {each["method"] for each in made if "method" in each} == set(Method)


@pytest.mark.parametrize(
    "words", ["PHOTO --raw", "--filters", "--maximize blocks.1.0:3 --steps 2", "PHOTO --dream blocks.2.0 --steps 2"]
)
def test_featmap_what(tmp_path: Path, sample_images: Path, words: str):
    typed = [sample_images / "photos" / "cat.jpg" if word == "PHOTO" else word for word in words.split()]
    size = () if "filters" in words else ("--size", 64)
    assert_same(*on_both(tmp_path, "featmap", *typed, *size, "--no-page"))


@pytest.mark.parametrize(
    "words",
    [
        "PHOTOS/cat.jpg -s sea_storm.jpg",
        "PHOTOS/cat.jpg -s sea_storm.jpg --optimizer adam --preserve-color histogram",
        "PHOTOS/cat.jpg -s sea_storm.jpg --backbone vgg11 --weights none --precision fp32 --scales 1 --steps 3",
        "PHOTOS/china.jpg -s sea_storm.jpg -s night_swirls.jpg --mask MASK",
        "PHOTOS/cat.jpg -s sea_storm.jpg --grid --grid-ratios 1,50 --grid-layers blocks.2.1,blocks.3.2 --steps 2",
    ],
)
def test_stylize(tmp_path: Path, sample_images: Path, words: str):
    assert_same(*on_both(tmp_path, *_stylize(sample_images, words), name="a.png"))


def test_stylize_in_tiles(tmp_path: Path, sample_images: Path):
    words = f"PHOTOS/cat.jpg -s sea_storm.jpg --max-memory 16MB --size 160 --precision fp32 {SHALLOW}"
    assert_same(*on_both(tmp_path, *_stylize(sample_images, words), name="a.png"))


def test_stylize_several_together_and_frames(tmp_path: Path, sample_images: Path, textures: Path):
    words = f"{textures}/gravel -s sea_storm.jpg --precision fp32 {SHALLOW} --no-page"
    assert_same(*on_both(tmp_path, *_stylize(sample_images, words)))
    frames = f"{tmp_path}/cpu/run --frames -s sea_storm.jpg --precision fp32 {SHALLOW}"
    assert_same(*on_both(tmp_path, *_stylize(sample_images, frames), name="frames"))


def _stylize(sample_images: Path, words: str) -> list[object]:
    """The words of a command line, with the sample images in it."""
    places = {"PHOTOS": sample_images / "photos", "MASK": sample_images / "masks" / "china_sky.png"}
    typed = ["stylize"]
    for word in words.split():
        first, slash, rest = word.partition("/")
        word = f"{places[first]}{slash}{rest}" if first in places else word
        typed.append(str(sample_images / "styles" / word) if typed[-1] == "-s" else word)
    return [*typed, *(() if "--size" in typed else ("--size", 64)), *(() if "--steps" in typed else ("--steps", 6))]


@pytest.mark.parametrize("method", ["network", "self --steps 3"])
def test_denoise(tmp_path: Path, textures: Path, method: str):
    image = textures / "brick" / "brick_00.png"
    assert_same(*on_both(tmp_path, "ae", "denoise", image, "--sigma", 20, "--method", *method.split(), name="a.png"))


@pytest.mark.parametrize("arch", ["conv", "stacked", "unet"])
def test_ae(tmp_path: Path, sample_images: Path, arch: str):
    words = (sample_images / "photos", *UNET) if arch == "unet" else ("digits", "--arch", arch)
    assert_same(*on_both(tmp_path, "ae", "train", *words, *AE))


def test_ae_reconstruct(tmp_path: Path, textures: Path, trained: dict[str, Path]):
    assert_same(*on_both(tmp_path, "ae", "reconstruct", trained["autoencoder"], textures / "brick"))


@pytest.mark.parametrize("arch", ["mlp", "dcgan", "modern --width 8"])
def test_gan(tmp_path: Path, arch: str):
    assert_same(*on_both(tmp_path, "gan", "train", "digits", *GAN, "--arch", *arch.split()))


def test_gan_sample_and_evaluate(tmp_path: Path, trained: dict[str, Path]):
    assert_same(*on_both(tmp_path, "gan", "sample", trained["generator"], "-n", 4, name="a.png"))
    words = ("gan", "evaluate", trained["generator"], "digits", "-n", 60, "--limit", 60, "--json")
    figures = [
        text[text.index('"metrics"') :].partition("}")[0] for text in (run_on_cpu(*words), run_on_card(*words)[1])
    ]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    "method",
    ["kmeans --size 64", "minibatch --features pixels", "deep-kmeans --epochs 2", "manifold --features pixels"],
)
def test_cluster(tmp_path: Path, textures: Path, method: str):
    words = ("-k", 3, "--no-page", "--no-cache", "--method", *method.split())
    assert_same(*on_both(tmp_path, "cluster", textures, *words))

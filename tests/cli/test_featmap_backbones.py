"""Every family of torchvision's classifiers: layers listed, the last map drawn (the benchmark does all 80)."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.run import run_inside

# Fixed input sizes stay what they are; everything else is small.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": None,
    "mnasnet0_5": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_v2_t": 64,
    "vgg11_bn": 64,
    "vit_b_32": None,
}


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_layers_are_listed_and_the_last_map_drawn(name: str, size: int | None, sample_images, tmp_path) -> None:
    words = ("--backbone", name, "--weights", "none", "--threads", "1", *(("--size", size) if size else ()))
    listed = run_inside("featmap", "--list-layers", *words, "--json")
    assert listed.exit_code == 0, listed.output
    layers = json.loads(listed.stdout)["layers"]
    drawable = [layer for layer in layers if layer["kind"] in ("map", "tokens") and layer["parameters"]]
    assert len(drawable) >= 5
    last = max(drawable, key=lambda layer: layer["order"])
    out = tmp_path / "out"
    photo = sample_images / "photos" / "cat.jpg"
    drawn = run_inside("featmap", photo, "-o", out, *words, "--layer", last["name"], "--raw", "-q")
    assert drawn.exit_code == 0, drawn.output
    values = np.load(out / "cat" / "maps.npz")[last["name"]]
    channels_last = last["kind"] == "map" and last["shapes"][0][0] == last["shapes"][0][1]
    assert len(values) == last["shapes"][0][-1 if channels_last or last["kind"] == "tokens" else 0]
    assert np.isfinite(values).all()
    assert values.std() > 0
    with Image.open(out / "cat.maps.png") as page:
        assert page.width > 400

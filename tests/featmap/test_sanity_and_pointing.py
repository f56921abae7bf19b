"""Maps of random weights, and whether a map's highest point lies on the object."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from dltool.errors import DataError
from dltool.events import finish
from dltool.featmap.layers import list_layers
from dltool.featmap.methods import explain
from dltool.featmap.pointing import find_masks, points_at, read_object
from dltool.featmap.sanity import randomized_maps, rank_correlation, shuffling, stages_of
from dltool.featmap.settings import Fit, Method, WhySettings
from dltool.featmap.targets import Target
from tests.cli.run import run_inside
from tests.featmap.networks import RedMinusBlue, lite0, photo, untrained, wrap


def test_all_layers_with_weights_from_the_last_to_the_first() -> None:
    network = untrained("squeezenet1_0", 64)
    stages = stages_of(network.module, list_layers(network))
    assert stages[0] == ["classifier.1"] and stages[-1][-1] == "features.0" and len(stages) == 5
    names = [name for stage in stages for name in stage]
    own = [name for name, _ in network.module.named_parameters() if name.endswith("weight")]
    assert sorted(names) == sorted(name.removesuffix(".weight") for name in own)


def test_weights_change_places_and_come_back() -> None:
    module = untrained("squeezenet1_0", 64).module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(KeyError), shuffling(module, 0) as shuffle:
        shuffle("features.0")
        changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"features.0.weight"}  # its biases are all 0
        for name in changed:
            torch.testing.assert_close(module.state_dict()[name].ravel().sort()[0], before[name].ravel().sort()[0])
        raise KeyError
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_rank_correlation_is_spearman_s() -> None:
    first, second = np.random.default_rng(0).integers(0, 9, (2, 8, 9))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.ravel(), second.ravel())[0])
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones((8, 9))) == 0


def test_guided_backprop_does_not_see_that_the_classifier_is_random(sample_images) -> None:
    network = lite0()
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    layers, targets, settings = list_layers(network), [Target(285)], WhySettings()
    found = {}
    for method in (Method.GRADCAM, Method.GUIDED_BACKPROP):
        trained = finish(explain(network, images, targets, method, settings, "bn2"))[0].values
        stage = finish(randomized_maps(network, layers, (images, targets, method), settings, "bn2"))[0]
        assert stage.layer == "classifier" and stage.values.shape == (1, *trained.shape)
        found[method] = rank_correlation(trained, stage.values[0])
    assert found[Method.GUIDED_BACKPROP] > 0.9 > 0.5 > abs(found[Method.GRADCAM])


def test_a_point_on_the_object_or_next_to_it() -> None:
    where = np.zeros((100, 200), bool)
    where[40:60, 100:120] = True
    for place, hit in (((50, 110), True), ((50, 125), True), ((50, 127), False), ((0, 0), False)):
        values = np.zeros((100, 200))
        values[place] = 1
        assert points_at(values, where) is hit


def test_masks_by_name_and_what_they_must_be(tmp_path) -> None:
    network = wrap(RedMinusBlue(), 32)
    (tmp_path / "dogs").mkdir()
    values = np.zeros((40, 60), np.uint8)
    values[:, 30:] = 1  # a label image: 0 is the ground
    for name in ("cat.png", "dogs/rex.png"):
        Image.fromarray(values).save(tmp_path / name)
    images = [tmp_path / "in" / "cat.jpg", tmp_path / "in" / "dogs" / "rex.jpg", tmp_path / "in" / "none.jpg"]
    assert list(find_masks(tmp_path, images).values()) == [tmp_path / "cat.png", tmp_path / "dogs" / "rex.png"]
    where = read_object(network, Fit.WHOLE, tmp_path / "cat.png", (32, 48))
    assert where.shape == (32, 48) and where[:, 25:].all() and not where[:, :23].any()
    assert read_object(network, Fit.CROP, tmp_path / "cat.png", (32, 32))[:, 17:].all()
    with pytest.raises(DataError, match="not of its image's shape"):
        read_object(network, Fit.WHOLE, tmp_path / "cat.png", (32, 32))
    Image.new("L", (60, 40)).save(tmp_path / "black.png")
    with pytest.raises(DataError, match="a mask without an object"):
        read_object(network, Fit.WHOLE, tmp_path / "black.png", (32, 48))
    with pytest.raises(DataError, match=r"no image has a mask; that of none.jpg is called none.png"):
        find_masks(tmp_path, images[2:])


def test_both_on_the_command_line(sample_images, tmp_path) -> None:
    cat, masks, out = sample_images / "photos" / "cat.jpg", tmp_path / "masks", tmp_path / "out"
    masks.mkdir()
    mask = Image.new("L", (451, 300))
    ImageDraw.Draw(mask).ellipse((30, 0, 400, 299), fill=255)
    mask.save(masks / "cat.png")
    words = ("featmap", cat, "-o", out, "-m", "gradcam,saliency", "--threads", 1)
    result = run_inside(*words, "--sanity", "--masks", masks, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["pointing"]["gradcam"] == {"hits": 1, "of": 1, "accuracy": 1.0}
    entries = document["items"][0]["outputs"]
    assert [entry["kind"] for entry in entries] == ["comparison", "overlay", "overlay", "sanity"]
    stages = entries[1]["sanity"]
    assert [stage["from"] for stage in stages][::4] == ["classifier", "conv_stem"]
    assert abs(stages[-1]["correlation"]) < 0.3
    with Image.open(out / "cat" / "sanity.png") as page:
        assert page.width > 5 * 272
    assert run_inside(*words, "--overwrite", "--masks", tmp_path / "no").exit_code == 3

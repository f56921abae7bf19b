"""Maps, colours of classes, and centres as images."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dltool.cluster.charts import class_colors, map_places
from dltool.cluster.clustering import Clustering
from dltool.cluster.contact_sheets import center_images
from dltool.cluster.grouping import group
from dltool.cluster.settings import ClusterSettings
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.data.splits import ArraySplit
from dltool.events import finish
from dltool.training.context import RunContext


@pytest.mark.filterwarnings("error")
def test_a_map_knows_no_scale_and_no_origin() -> None:
    rows = load_digits().data[:30].astype(np.float32)
    places = map_places(rows, 0)[1]
    assert np.array_equal(map_places(rows * 2.0**-60, 0)[1], places)
    assert np.isfinite(map_places(rows + np.float32(2**23), 0)[1]).all()
    assert map_places(rows[:3], 0)[1].shape == (3, 2) and not map_places(np.ones((9, 5)), 0)[1].any()


def test_rows_of_two_numbers_are_their_own_places() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    chosen, places, how = map_places(rows, 0)
    assert np.array_equal(places, rows) and chosen.tolist() == list(range(9)) and not how


def test_classes_have_the_colours_of_their_clusters_and_others_are_grey() -> None:
    labels, classes = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 2])
    clustering = Clustering(labels, torch.zeros(2, 2), labels, labels, labels, 0.0, 1)
    source = ClusterSource("rows", SourceKind.TABLE, rows=np.zeros((4, 2)), labels=classes, class_names=("a", "b", "c"))
    first, second = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    grey, *colors = class_colors(clustering, source, [first, second])
    assert colors == [first, second] and len(set(grey)) == 1


def test_centres_of_pixels_are_mean_images_behind_components_too() -> None:
    images = (load_digits().images[:40] * 15).astype(np.uint8)
    source = ClusterSource("digits", SourceKind.ARRAYS, ArraySplit(images, np.zeros(40, np.int64), "digits"))
    settings = ClusterSettings(k=3, pca=40)  # all that 40 images differ by
    found = finish(group(source, settings, RunContext(torch.device("cpu"))))
    assert found is not None
    for number, image in enumerate(center_images(found)):
        mean = images[found.clustering.labels == number].mean(0)
        assert np.abs(image[..., 0] - mean).max() < 1

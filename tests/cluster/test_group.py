"""From data to groups."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.cli.command import make_settings
from dltool.cluster.clustering import Clustering
from dltool.cluster.grouping import Grouped, by_size, group, in_plain_space
from dltool.cluster.settings import ClusterData, ClusterSettings
from dltool.cluster.source import ClusterSource, SourceKind, open_source
from dltool.cluster.summary import agreement, from_center, summarize
from dltool.cluster.table import TableFile
from dltool.errors import DataError, SettingsError
from dltool.events import finish
from dltool.settings import settings_of
from dltool.training.context import RunContext

CONTEXT = RunContext(torch.device("cpu"), workers=0)


def opened(data: Path | str, **options: object) -> ClusterSource:
    """The source of some data."""
    source = finish(open_source(ClusterData(str(data), **options), CONTEXT))
    assert source is not None
    return source


def grouped(source: ClusterSource, **settings: object) -> Grouped:
    """What becomes of a source."""
    found = finish(group(source, ClusterSettings(**settings), CONTEXT))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def textures(sample_images: Path) -> ClusterSource:
    """Crops of three textures, in class folders."""
    return opened(sample_images / "textures", limit=45)


def test_features_of_the_bundled_backbone_tell_textures_apart(textures: ClusterSource) -> None:
    found = grouped(textures, k=3, size=96)
    assert found.embedder.features == "efficientnet_lite0" and found.smoothed == 8
    assert agreement(textures, found.clustering).purity == 1
    summary = summarize(found, 0)
    assert summary["metrics"]["accuracy"] == 1 and summary["clusters"][0]["size"] >= 15
    members = from_center(found.clustering, 0)
    assert summary["clusters"][0]["most_typical"] == textures.item(members[0])
    assert (np.diff(found.clustering.distances[members]) >= 0).all()


def test_pixels_are_compared_where_that_is_asked_for(textures: ClusterSource) -> None:
    found = grouped(textures, k=2, features="pixels", size=8)
    assert found.clustering.embedding.shape == (45, 8 * 8 * 3) and not found.smoothed
    assert found.clustering.embedding.max() <= 1


def test_labels_are_for_scoring_only() -> None:
    with_labels = opened("digits", limit=150)
    without = ClusterSource(with_labels.name, with_labels.kind, with_labels.split)
    assert np.array_equal(grouped(with_labels, k=5).clustering.labels, grouped(without, k=5).clustering.labels)
    assert agreement(without, grouped(without, k=5).clustering) is None


def test_toy_points_fall_into_their_blobs() -> None:
    blobs = opened("blobs")
    assert len(blobs) == 500 and blobs.kind is SourceKind.POINTS
    found = grouped(blobs)
    assert found.choice.k == 3 and agreement(blobs, found.clustering).accuracy > 0.99
    assert len(opened("circles")) == len(opened("moons")) == 500


def test_tables_in_memory_and_in_their_file_give_the_same_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(400, 6)) + 9 * (np.arange(400) % 4)[:, None])
    table = opened(tmp_path / "rows.npy")
    inside = grouped(table, k=4)
    monkeypatch.setattr("dltool.cluster.grouping._SHARE_OF_MEMORY", 0.0)
    streamed = grouped(table, k=4)
    assert isinstance(inside.plain, np.ndarray) and isinstance(streamed.plain, TableFile)
    assert np.array_equal(inside.clustering.labels, streamed.clustering.labels)
    assert torch.allclose(inside.clustering.centers, streamed.clustering.centers, rtol=1e-6)
    assert np.array_equal(inside.clustering.labels, inside.clustering.labels[np.arange(400) % 4])


def test_a_table_far_from_zero_is_grouped_as_one_around_it(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    random = np.random.default_rng(0)
    bursts = 1_700_000_000 + 60 * np.arange(5)[:, None] + np.sort(random.uniform(0, 5, (5, 20)))
    (tmp_path / "times.csv").write_text("time\n" + "\n".join(f"{time:.3f}" for time in bursts.ravel()) + "\n")
    found = grouped(opened(tmp_path / "times.csv"))
    assert found.choice.k == 5 and np.bincount(found.clustering.labels).tolist() == [20] * 5
    assert (found.clustering.labels.reshape(5, 20) == found.clustering.labels[::20, None]).all()
    blobs = np.concatenate([random.normal(centre, 1, (100, 2)) for centre in ((0, 0), (9, 0), (0, 9))]) + 1e8
    np.save(tmp_path / "blobs.npy", blobs)
    theirs = KMeans(3, n_init=10, random_state=0).fit(blobs - 1e8).inertia_
    assert grouped(opened(tmp_path / "blobs.npy"), k=3).clustering.inertia == pytest.approx(theirs, rel=1e-6)
    limited = opened(tmp_path / "blobs.npy", limit=60)
    assert len(limited) == 60 and grouped(limited, k=3).clustering.inertia < theirs


def test_columns_of_unlike_spread_are_standardized_unless_told_otherwise(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kind = np.arange(200) % 2
    rows = np.stack([random.normal(0, 1000, 200), kind + random.normal(0, 0.05, 200)], axis=1)
    np.save(tmp_path / "rows.npy", rows)
    table = opened(tmp_path / "rows.npy")
    notes: list[object] = []
    made = finish(group(table, ClusterSettings(k=2), CONTEXT), notes.append)
    assert any("columns are standardized" in getattr(note, "text", "") for note in notes)
    assert (made.clustering.labels == made.clustering.labels[kind]).all()
    plain = grouped(table, k=2, standardize=False).clustering
    assert not (plain.labels == plain.labels[kind]).all()
    assert summarize(made, 0)["standardized"] and table.statistics.spread[0] > 900


def test_margins_are_negative_where_neighbours_spoke_against_a_row() -> None:
    angles = np.deg2rad([0, 10, 80, 90, 85])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 1, 1, 0])
    found = in_plain_space(Clustering(labels, torch.zeros(2, 2), labels, labels, rows, 0.0, 1), rows)
    assert (found.margins > 0).tolist() == [True, True, True, True, False] and found.margins[4] < 0
    assert torch.allclose(found.centers.norm(dim=1), torch.ones(2))


def test_clusters_are_numbered_from_the_largest() -> None:
    labels = np.array([2, 0, 2, 1, 2, 1])
    parts = {"cluster.weight": torch.arange(3), "weight": torch.arange(3)}
    result = Clustering(labels, torch.arange(3.0)[:, None], labels * 1.0, labels * 1.0, labels, 0.0, 1, tensors=parts)
    ordered = by_size(result)
    assert ordered.labels.tolist() == [0, 2, 0, 1, 0, 1]
    assert ordered.centers.flatten().tolist() == ordered.tensors["cluster.weight"].tolist() == [2, 1, 0]
    assert ordered.tensors["weight"].tolist() == [0, 1, 2]


def test_settings_that_cannot_be_are_told() -> None:
    defaults = {name: setting.default for name, setting in settings_of(ClusterSettings).items()}
    typed = [make_settings(ClusterSettings, defaults | {"k": text}) for text in ("auto", "7")]
    assert typed[0].k is None and typed[1].k == 7
    for text in ("0", "-2", "many"):
        with pytest.raises(SettingsError, match="-k"):
            make_settings(ClusterSettings, defaults | {"k": text})
    blobs = opened("blobs", limit=9)
    with pytest.raises(SettingsError, match="-k 10: more clusters"):
        grouped(blobs, k=10)
    with pytest.raises(SettingsError, match="not pictures"):
        grouped(blobs, k=2, features="resnet18")
    with pytest.raises(DataError, match="did you mean 'blobs'"):
        opened("blob")

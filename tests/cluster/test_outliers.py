"""Items that fit nowhere, and groups without a k."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from dltool.cli.command import make_settings
from dltool.cluster import linkage as linkage_module
from dltool.cluster.settings import ClusterSettings
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.errors import SettingsError
from dltool.settings import settings_of
from tests.cli.run import run_inside
from tests.cluster.test_group import grouped

CENTERS = ((0, 0), (4, 0), (0, 4))


def points(seed: int = 0) -> np.ndarray:
    """Three blobs of 40 points, and two points far from all of them."""
    random = np.random.default_rng(seed)
    inner = [random.normal(center, 0.3, (40, 2)) for center in CENTERS]
    return np.concatenate([*inner, [[20, 20], [-15, 9]]]).astype(np.float32)


@pytest.fixture
def source() -> ClusterSource:
    return ClusterSource("points", SourceKind.POINTS, rows=points())


def test_outliers_get_a_group_of_their_own_and_draw_no_centre(source: ClusterSource) -> None:
    assert grouped(source).choice.k != 3  # they do without it
    for method in ({}, {"method": "manifold"}, {"distance": 1.5}):
        found = grouped(source, outliers="auto", **method)
        labels = found.clustering.labels
        assert found.clustering.outliers == 2 and np.flatnonzero(labels == 3).tolist() == [120, 121]
        assert sorted(np.bincount(labels).tolist()) == [2, 40, 40, 40]
        centers = {tuple(np.rint(center).astype(int)) for center in found.clustering.centers[:3].numpy()}
        assert centers == set(CENTERS)
        nearest = np.linalg.norm(source.rows[120:, None] - found.clustering.centers[None, :3].numpy(), axis=2).min(1)
        assert found.clustering.distances[120:] == pytest.approx(nearest, rel=1e-5)


def test_a_share_of_the_items_is_taken_whatever_they_are(source: ClusterSource) -> None:
    found = grouped(source, k=3, outliers=0.1)
    assert found.clustering.outliers == 12 and {120, 121} <= set(np.flatnonzero(found.clustering.labels == 3))
    inner = ClusterSource("points", SourceKind.POINTS, rows=points()[:120])
    assert grouped(inner, k=3, outliers="auto").clustering.outliers == 0
    defaults = {name: setting.default for name, setting in settings_of(ClusterSettings).items()}
    for text in ("0", "0.7", "some"):
        with pytest.raises(SettingsError, match="--outliers"):
            make_settings(ClusterSettings, defaults | {"outliers": text})


def test_groups_below_a_distance_are_those_of_average_linkage(
    source: ClusterSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = fcluster(linkage(source.rows.astype(float), "average"), 0.8, "distance")
    found = grouped(source, distance=0.8)
    pairs = {(a, b) for a, b in zip(wanted.tolist(), found.clustering.labels.tolist(), strict=True)}
    assert len(pairs) == len(set(wanted)) == len(found.clustering.centers) > 3 and found.choice is None
    # Of many items only neighbours are joined, which parts no blob here.
    monkeypatch.setattr(linkage_module, "_ALL_PAIRS", 50)
    labels = grouped(ClusterSource("points", SourceKind.POINTS, rows=points()[:120]), distance=1.5).clustering.labels
    assert np.bincount(labels).tolist() == [40, 40, 40] and all(len(set(labels[s : s + 40])) == 1 for s in (0, 40, 80))


def test_the_command_draws_the_tree_says_the_outliers_and_leaves_them_out_of_the_model(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", points())
    words = ("cluster", tmp_path / "rows.npy", "-o", tmp_path / "out", "--outliers", "auto", "--distance", 1.5)
    done = run_inside(*words)
    assert done.exit_code == 0 and "cluster 3: 2 rows, which fit into no other" in done.output
    assert (tmp_path / "out" / "dendrogram.png").stat().st_size > 5000
    summary = json.loads((tmp_path / "out" / "clusters.json").read_text())
    assert summary["metrics"]["outliers"] == 2
    assert [bool(row.get("outliers")) for row in summary["clusters"]] == [False, False, False, True]
    np.save(tmp_path / "new.npy", np.array([[19.0, 19.0], [4.0, 0.2]]))
    again = run_inside("cluster", tmp_path / "new.npy", "--model", tmp_path / "out", "-o", tmp_path / "new", "--json")
    assert again.exit_code == 0 and json.loads(again.stdout)["k"] == 3
    for more, told in (
        (("--distance", 1, "-k", 3), "-k: has no effect"),
        (("--outliers", "auto", "--method", "minibatch"), "--outliers: has no effect"),
        (("--model", tmp_path / "out", "--outliers", 0.1), "--outliers: has no effect with --model"),
    ):
        refused = run_inside("cluster", tmp_path / "rows.npy", "-o", tmp_path / "no", *more)
        assert refused.exit_code == 2 and told in refused.stderr
    np.save(tmp_path / "many.npy", np.random.default_rng(0).normal(size=(501, 2)))
    many = run_inside("cluster", tmp_path / "many.npy", "-o", tmp_path / "many", "--distance", 2, "--no-page")
    assert many.exit_code == 0
    assert not (tmp_path / "many" / "dendrogram.png").exists()

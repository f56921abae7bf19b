"""`dltool cluster` as a user runs it."""

import csv
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.run import files_in, run_inside, run_process, start_process

PHOTO = "photos/cat.jpg"


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """A folder of images of two kinds and a broken one."""
    root = tmp_path_factory.mktemp("photos")
    for kind in ("brick", "grass"):
        for file in sorted((sample_images / "textures" / kind).iterdir())[:8]:
            (root / kind).mkdir(exist_ok=True)
            shutil.copy(file, root / kind)
    (root / "grass" / "broken.jpg").write_bytes((sample_images / PHOTO).read_bytes()[:2000])
    return root


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """The result of grouping them, sorted into links."""
    out = tmp_path_factory.mktemp("out") / "result"
    done = run_inside("cluster", photos, "-o", out, "-k", "2", "--size", "64", "--sort", "link", "--json")
    assert done.exit_code == 1 and "broken.jpg" in done.stderr, done.output  # all but it is done
    document = json.loads(done.stdout)
    assert document["metrics"]["accuracy"] == 1 and document["sorted"] == 16
    assert document["k"] == 2 and len(document["unreadable"]) == 1
    return out


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The table of a result by file."""
    with (folder / "assignments.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_a_result_has_its_table_sheets_map_and_summary(result: Path) -> None:
    rows = rows_of(result)
    assert list(next(iter(rows.values()))) == ["file", "cluster", "distance", "margin"]
    assert len(rows) == 16 and "grass/broken.jpg" not in rows
    kinds = {(Path(name).parent.name, row["cluster"]) for name, row in rows.items()}
    assert len(kinds) == 2 and len({cluster for _, cluster in kinds}) == 2
    names = {path.name for path in result.iterdir()}
    assert names >= {"cluster-0.jpg", "cluster-1.jpg", "map.png", "map-pictures.jpg", "confusion.png", "clusters.json"}
    summary = json.loads((result / "clusters.json").read_text())
    assert [row["size"] for row in summary["clusters"]] == [8, 8]
    assert "broken.jpg" in summary["unreadable"][0]


def test_sorting_links_to_originals_that_stay(result: Path, photos: Path) -> None:
    for name, row in rows_of(result).items():
        link = result / "sorted" / f"cluster-{row['cluster']}" / name
        assert link.is_symlink() and link.resolve() == (photos / name).resolve()
    assert len(list(photos.rglob("*.*"))) == 17


def test_a_model_puts_images_where_they_were(result: Path, photos: Path, tmp_path: Path) -> None:
    done = run_inside("cluster", photos / "brick", "--model", result, "-o", tmp_path / "new", "--sort", "copy", "-q")
    assert done.exit_code == 0, done.output
    before, after = rows_of(result), rows_of(tmp_path / "new")
    assert len(after) == 8
    for name, row in after.items():
        assert row["cluster"] == before[f"brick/{name}"]["cluster"]
        assert float(row["distance"]) == pytest.approx(float(before[f"brick/{name}"]["distance"]), abs=1e-4)
        copy = tmp_path / "new" / "sorted" / f"cluster-{row['cluster']}" / name
        assert not copy.is_symlink() and copy.read_bytes() == (photos / "brick" / name).read_bytes()
    refused = run_inside("cluster", "blobs", "--model", result, "-o", tmp_path / "points")
    assert refused.exit_code == 3 and "groups pictures" in refused.stderr
    refused = run_inside("cluster", photos, "--model", result, "-k", "3", "-o", tmp_path / "k")
    assert refused.exit_code == 2 and "-k" in refused.stderr


def test_a_plan_says_where_images_would_go_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    words = ["cluster", photos, "-o", tmp_path / "out", "-k", "2", "--size", "64", "--dry-run"]
    planned = run_inside(*words, "--sort", "copy")
    assert planned.exit_code == 0 and planned.stdout.count("->") == 16
    assert "sorted/cluster-0/brick/" in planned.stdout or "sorted/cluster-1/brick/" in planned.stdout
    assert run_inside(*words).exit_code == 0
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_left_alone_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["cluster", "blobs", "-o", out, "-k"]
    assert run_inside(*words, "3").exit_code == 0
    (out / "mine.txt").write_text("mine")
    before = files_in(out)
    refused = run_inside(*words, "2")
    assert refused.exit_code == 2 and "--overwrite" in refused.stderr
    assert run_inside(*words, "2", "--skip-existing").exit_code == 0
    assert files_in(out) == before
    assert run_inside(*words, "2", "--overwrite").exit_code == 0
    assert {row["cluster"] for row in rows_of(out).values()} == {"0", "1"}
    assert (out / "mine.txt").read_text() == "mine"


def test_sorting_anew_takes_back_its_own_links_only(photos: Path, tmp_path: Path) -> None:
    words = ["cluster", photos, "-o", tmp_path, "--size", "64", "--sort", "link", "-q", "--no-page", "--overwrite"]
    assert run_inside(*words, "-k", "2").exit_code == 1
    (tmp_path / "sorted" / "cluster-0" / "mine.jpg").write_bytes(b"mine")
    assert run_inside(*words, "-k", "1").exit_code == 1
    links = [path for path in (tmp_path / "sorted").rglob("*") if path.is_symlink()]
    assert len(links) == 16 and all(path.is_relative_to(tmp_path / "sorted" / "cluster-0") for path in links)
    assert (tmp_path / "sorted" / "cluster-0" / "mine.jpg").read_bytes() == b"mine"
    assert not (tmp_path / "sorted" / "cluster-1").exists()
    name = next(iter(rows_of(tmp_path)))
    (tmp_path / "other" / "sorted" / "cluster-0" / name).parent.mkdir(parents=True)
    (tmp_path / "other" / "sorted" / "cluster-0" / name).write_bytes(b"mine")
    words[3] = tmp_path / "other"
    refused = run_inside(*words, "-k", "1")
    assert refused.exit_code == 2 and "did not write" in refused.stderr


def test_an_older_table_removes_nothing_outside_its_folder(photos: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.jpg"
    words = ["cluster", photos, "-o", out, "--size", "64", "-k", "2", "--sort", "copy", "-q", "--no-page"]
    assert run_inside(*words).exit_code == 1
    mine.write_bytes(b"mine")
    (out / "sorted" / "cluster-0" / "kept.txt").write_text("keeps the folder, through which a path may lead out")
    with (out / "assignments.csv").open("a") as table:
        table.write(f"{mine},0,0,0\n../../../mine.jpg,0,0,0\n")
    for copy in list((out / "sorted").rglob("brick*"))[1:]:
        if copy.is_file():
            copy.unlink()  # what is gone already is no obstacle either
    done = run_inside(*words, "--overwrite")
    assert done.exit_code == 1, done.output
    assert mine.read_bytes() == b"mine" and len([p for p in (out / "sorted").rglob("*") if p.is_file()]) == 17


def test_only_training_is_resumed_and_places_are_checked_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["cluster", "blobs", "-k"]
    assert run_inside(*words, "3", "-o", out).exit_code == 0
    before = files_in(out)
    for more, code, said in (
        (("2", "-o", out, "--resume"), 2, "trains nothing"),
        (("2", "-o", out, "--resume", "--method", "deep-kmeans"), 2, "nothing was trained"),
        (("²", "-o", tmp_path / "k"), 2, "a number from 1"),
    ):
        refused = run_inside(*words, *more)
        assert refused.exit_code == code and said in refused.stderr, refused.output
        assert "Errno" not in refused.stderr
    assert files_in(out) == before
    refused = run_inside(*words, "2", "-o", out / "map.png" / "deeper")
    assert refused.exit_code == 2 and "map.png is a file" in refused.stderr
    refused = run_inside(*words, "2", "-o", "/proc/no/such")  # root may try, others are stopped before
    assert refused.exit_code in (1, 2) and "/proc/no/such: " in refused.stderr and "Error:" not in refused.stderr
    refused = run_inside(
        "cluster", tmp_path / "missing", "--model", tmp_path / "none.safetensors", "-o", tmp_path / "m"
    )
    assert refused.exit_code == 4 and "none.safetensors" in refused.stderr
    refused = run_inside("cluster", "digits", "--limit", 9, "--features", "resnet19", "-o", tmp_path / "f")
    assert refused.exit_code == 2 and "--features resnet19: no such network" in refused.stderr


def test_k_is_chosen_by_the_measure_of_the_method(tmp_path: Path) -> None:
    words = ["cluster", "blobs", "-o", tmp_path / "out", "--method", "manifold", "--k-max", "5", "--json"]
    document = json.loads(run_inside(*words).stdout)
    assert document["k"] == 3 and "3 groups that hardly an edge joins" in document["k_choice"]["reason"]
    assert [tried["modularity"] > 0 for tried in document["k_choice"]["tried"]] == [True] * 4


def test_a_group_of_one_is_said_and_embeddings_are_kept_where_asked_for(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    rows[17] = 500
    np.save(tmp_path / "rows.npy", rows)
    words = ["cluster", tmp_path / "rows.npy", "-o", tmp_path / "out", "-k", "2"]
    done = run_inside(*words, "--save-embeddings")
    assert done.exit_code == 0 and "a group of one item: 17;" in done.stderr, done.output
    kept = np.load(tmp_path / "out" / "embeddings.npy")
    assert kept.dtype == np.float32 and np.allclose(kept, rows - rows.mean(0), atol=1e-4)
    refused = run_inside("cluster", tmp_path / "out" / "embeddings.npy", "-o", tmp_path / "out", "--overwrite")
    assert refused.exit_code == 2 and "embeddings.npy" in refused.stderr
    assert run_inside(*words, "--overwrite").exit_code == 0 and not (tmp_path / "out" / "embeddings.npy").exists()
    again = ["cluster", tmp_path / "rows.npy", "--model", tmp_path / "out", "-o", tmp_path / "new", "--save-embeddings"]
    assert run_inside(*again).exit_code == 0 and np.array_equal(np.load(tmp_path / "new" / "embeddings.npy"), kept)


def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        words = ["cluster", "digits", "--limit", "120", "-k", "4", "--pca", "8", "--normalize", "-o", tmp_path / name]
        assert run_inside(*words, "--no-page").exit_code == 0
    assert (tmp_path / "a" / "assignments.csv").read_bytes() == (tmp_path / "b" / "assignments.csv").read_bytes()
    assert not (tmp_path / "a" / "centers.png").exists()


def test_pixels_have_centres_that_can_be_looked_at_and_k_a_plot(tmp_path: Path) -> None:
    done = run_inside("cluster", "digits", "--limit", "150", "--k-max", "4", "--no-page", "-o", tmp_path / "out")
    assert done.exit_code == 0 and "largest silhouette" in done.stderr
    assert (tmp_path / "out" / "centers.png").is_file() and (tmp_path / "out" / "choose_k.png").is_file()


def test_tables_of_numbers_are_grouped_and_bad_ones_named(tmp_path: Path) -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(m, 1, (60, 4)) for m in (0, 9)])
    np.save(tmp_path / "rows.npy", rows)
    done = run_inside("cluster", tmp_path / "rows.npy", "-o", tmp_path / "out", "-k", "2", "--method", "minibatch")
    assert done.exit_code == 0, done.output
    clusters = [row["cluster"] for row in rows_of(tmp_path / "out").values()]
    assert len({*clusters[:60]}) == len({*clusters[60:]}) == 1 and clusters[0] != clusters[-1]
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,nan\n")
    refused = run_inside("cluster", tmp_path / "bad.csv", "-o", tmp_path / "bad")
    assert refused.exit_code == 3 and "row 2, column 2 is nan" in refused.stderr
    assert not (tmp_path / "bad").exists()


def test_a_model_of_rows_groups_rows_again_and_shows_its_own_settings(tmp_path: Path) -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(m, 1, (40, 3)) for m in (0, 9)])
    np.save(tmp_path / "rows.npy", rows)
    words = ["cluster", tmp_path / "rows.npy", "-o"]
    made = [*words, tmp_path / "first", "-k", "2", "--method", "manifold", "--pca", "2", "--json"]
    first = json.loads(run_inside(*made).stdout)
    (tmp_path / "shared.toml").write_text("[cluster]\nk = 7\n")  # for other runs
    again = [*words, tmp_path / "again", "--model", tmp_path / "first", "--config", tmp_path / "shared.toml"]
    done = run_inside(*again, "--seed", 5, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"] == first["settings"] | {"seed": 5}
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "first")


def test_a_table_as_pandas_writes_it_needs_one_option_and_its_model_none(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kinds = np.arange(60) % 3
    days = [f"2024-03-{day % 30 + 1:02d}" for day in range(60)]
    for name, order in (("t", slice(None)), ("new", slice(None, None, -1))):
        lines = [",species,day,width,height"]
        for row in range(60)[order]:
            sizes = 1e8 + random.normal(10 * kinds[row], 1), random.normal(0.1 * kinds[row], 0.01)
            lines.append(f"{row},{'abc'[kinds[row]]},{days[row]},{sizes[0]:.6f},{sizes[1]:.6f}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    words = ["cluster", tmp_path / "t.csv", "--label-column", "species", "--json"]
    done = run_inside(*words, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["k"] == 3 and made["metrics"]["ari"] == 1 and made["columns"] == ["width", "height"]
    assert made["standardized"] and "columns are standardized" in done.stderr and "column 'day'" in done.stderr
    assert list(rows_of(tmp_path / "out")) == [str(row) for row in range(60)]
    words = ["cluster", tmp_path / "new.csv", "--model", tmp_path / "out", "--label-column", "species", "--json"]
    again = run_inside(*words, "-o", tmp_path / "again")
    assert again.exit_code == 0 and json.loads(again.stdout)["metrics"]["ari"] == 1, again.output
    old, new = rows_of(tmp_path / "out"), rows_of(tmp_path / "again")
    assert all(new[name]["cluster"] == old[name]["cluster"] for name in old)
    (tmp_path / "other.csv").write_text("width,depth\n1,2\n3,5\n")
    for data, more, said in (
        (tmp_path / "other.csv", ("--threads", 1), "--columns height: "),
        (tmp_path / "new.csv", ("--columns", "width"), "--columns: has no effect with --model"),
        ("blobs", (), "here; it is for tables"),
    ):
        words = ["cluster", data, "-o", tmp_path / "no", *(more or ("--label-column", "x"))]
        refused = run_inside(*words, *(() if data == "blobs" else ("--model", tmp_path / "out")))
        assert refused.exit_code == 2 and said in refused.stderr, refused.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--epochs", 3), "--epochs: has no effect here; it is for --method deep-kmeans"),
        (("--lambda", 1), "--clustering-weight: has no effect here"),
        (("--batch-size", 99), "--batch-size: has no effect here; it is for --method minibatch"),
        (("-k", 3, "--k-max", 4), "--k-max: has no effect here; it is for -k auto"),
        (("-k", 3, "--method", "manifold", "--n-init", 2), "--n-init: has no effect"),
        (("-k", 3, "--method", "deep-kmeans", "--no-normalize"), "--normalize: has no effect"),
        (("--method", "deep-kmeans", "--features", "resnet18"), "--features: has no effect"),
        (("--weights", "none"), "--weights: has no effect here; it is for features of a backbone"),
        (("--features", "values"), "--features values: those of a table"),
        (("--features", "ae:"), "--features ae:: name a model"),
        (("--tol", "inf"), "--tol inf"),
    ],
)
def test_options_without_effect_are_refused(tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    refused = run_inside("cluster", "digits", "--limit", 20, *words, "-o", tmp_path / "out")
    assert refused.exit_code == 2 and said in refused.stderr, refused.output
    assert not (tmp_path / "out").exists()


def test_what_a_shared_configuration_holds_for_other_runs_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "shared.toml").write_text('[cluster]\nepochs = 3\nweights = "none"\nbatch-size = 9\n')
    done = run_inside("cluster", "blobs", "-k", 3, "-o", tmp_path / "out", "--config", tmp_path / "shared.toml")
    assert done.exit_code == 0, done.output


def test_odd_folders_get_a_line_or_the_right_answer(tmp_path: Path, sample_images: Path) -> None:
    for name in ("same", "one", "empty"):
        (tmp_path / name).mkdir()
    for number in range(3):
        shutil.copy(sample_images / PHOTO, tmp_path / "same" / f"{number}.jpg")
    shutil.copy(sample_images / PHOTO, tmp_path / "one")
    small = ("--size", "64", "--json")
    done = run_inside("cluster", tmp_path / "same", "-o", tmp_path / "a", *small)
    document = json.loads(done.stdout)
    assert document["k"] == 1 and document["copies"] == [["0.jpg", "1.jpg", "2.jpg"]]
    assert "all items are equal" in document["k_choice"]["reason"]
    done = run_inside("cluster", tmp_path / "one", "-o", tmp_path / "b", *small)
    assert json.loads(done.stdout)["k"] == 1 and "data: 1 picture\n" in done.stderr
    for data, k, code, said in (
        ("same", "2", 2, "only 1 differ"),
        ("one", "2", 2, "more"),
        ("empty", "2", 3, "no pic"),
    ):
        refused = run_inside("cluster", tmp_path / data, "-o", tmp_path / "c", "-k", k, "--size", "64")
        assert refused.exit_code == code and said in refused.stderr, refused.output
        assert not (tmp_path / "c").exists()


def test_help_needs_no_torch_and_ctrl_c_leaves_nothing_half_done(tmp_path: Path) -> None:
    helped = run_process("cluster", "--help")
    assert helped.returncode == 0 and "--method" in helped.stdout
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32))
    process = start_process("cluster", tmp_path / "rows.npy", "-o", tmp_path / "out", "--k-min", "40", "--k-max", "400")
    started = time.monotonic()
    while time.monotonic() - started < 60:
        if "data:" in (process.stderr.readline() or "data:"):
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not (tmp_path / "out").exists()

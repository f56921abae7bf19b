"""Pages as files: what is written, what is left alone, what is said of runs that make none."""

import json
import os
import re
from pathlib import Path

import pytest

from dltool import outputs
from dltool.errors import DataError, DltoolError
from dltool.events import finish
from dltool.pages import PageStep, write_page
from dltool.pages.write import command_of
from tests.pages import runs


def test_names_stand_in_the_file_as_text_only(tmp_path: Path) -> None:
    run, _ = runs.classifier_run(tmp_path)
    text = finish(write_page(run)).read_text()
    assert "alert(1)</script>" not in text and "<img src=x" not in text
    assert text.count("</script>") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["classes"] == ["cat", runs.SCRIPT, "dog"]


def test_policy_forbids_everything_but_own_images(tmp_path: Path) -> None:
    run, _ = runs.cluster_run(tmp_path)
    text = finish(write_page(run)).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    rules = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["'self'", "data:"]
    assert all(one.startswith("'sha256-") for name in ("style-src", "script-src") for one in rules[name])
    assert "http:" not in text and "https:" not in text
    assert " style=" not in text and not re.search(r"<[^>]* on\w+=", text.split("<script>")[0])


def test_steps_count_the_images(tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    steps = list(write_page(run))
    assert steps[0] == PageStep(1, len(names)) and steps[-1] == PageStep(len(names), len(names))


def test_remaking_keeps_thumbnails_of_images_that_are_gone(tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    first = finish(write_page(run)).read_bytes()
    for name in names:
        (tmp_path / "photos" / name).unlink()
    assert finish(write_page(run)).read_bytes() == first


def test_a_changed_image_gets_a_new_thumbnail_and_unused_ones_go(tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    finish(write_page(run))
    folder = run / "index_files"
    (folder / "notes.txt").write_text("not a thumbnail")
    before = {path.name: path.read_bytes() for path in folder.glob("*.jpg")}
    changed = runs.draw(tmp_path / "photos" / names[3], 255)
    os.utime(changed, (2**31, 2**31))
    rows = (run / "assignments.csv").read_text().splitlines()
    (run / "assignments.csv").write_text("\n".join(row for row in rows if names[4] not in row) + "\n")
    finish(write_page(run))
    after = {path.name: path.read_bytes() for path in folder.glob("*.jpg")}
    assert len(before) == len(names) and len(after) == len(names) - 1
    assert [name for name in after if after[name] != before[name]] != []
    assert runs.shade_of(folder / next(name for name in after if after[name] != before[name])) == 255
    assert (folder / "notes.txt").is_file()


def test_unreadable_originals_leave_a_gap_and_no_error(tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    (tmp_path / "photos" / names[-1]).write_bytes(b"no image")
    text = finish(write_page(run)).read_text()
    assert text.count('<span class="gone">no image</span>') == 1  # it is the most typical one of its group


def test_another_page_is_never_replaced(tmp_path: Path) -> None:
    run = runs.generator_run(tmp_path)
    (run / "index.html").write_text("<h1>my own</h1>")
    with pytest.raises(DltoolError, match=r"index\.html: dltool did not write it"):
        finish(write_page(run))
    assert (run / "index.html").read_text() == "<h1>my own</h1>"


def test_a_run_under_way_is_read_again(tmp_path: Path) -> None:
    run = runs.generator_run(tmp_path, finished=False)
    text = finish(write_page(run, watch=True)).read_text()
    assert '<meta http-equiv="refresh" content="5">' in text and "under way" in text
    assert "refresh" not in finish(write_page(run)).read_text()


def test_a_comparison_is_a_table(tmp_path: Path) -> None:
    run, _ = runs.classifier_run(tmp_path)
    results = json.loads((run / "results.json").read_text())
    row = {"name": "features", "split": "val", "metrics": results.pop("metrics"), "seconds": 1.0, "epochs": 3}
    results["comparison"] = [row | {"trainable": 10, "total": 2000, "note": "no class is named <i>"}]
    runs.write_json(run / "results.json", results)
    text = finish(write_page(run)).read_text()
    assert "Ways compared, on val" in text and "10 of 2,000" in text and "no class is named &lt;i&gt;" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", "results.json: damaged"),
        ("results.json", "[]", r"results.json: damaged \(no JSON object\)"),
        ("results.json", '{"command": "gan train", "data": 3}', "no page can be made of its files"),
        ("metrics.jsonl", "{", "metrics.jsonl: damaged"),
        ("metrics.jsonl", '{"epoch": 1}', "no page can be made of its files"),
    ],
)
def test_damaged_files_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    run = runs.generator_run(tmp_path)
    (run / name).write_text(content)
    with pytest.raises(DataError, match=message):
        finish(write_page(run))
    assert not (run / "index.html").exists()


def test_folders_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run that a page can show"):
        command_of(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        command_of(tmp_path / "nowhere")


def test_large_clusterings_show_an_even_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dltool.pages.cluster_page._MOST_ITEMS", 17)
    run, names = runs.cluster_run(tmp_path)
    text = finish(write_page(run)).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["groups"].count(0) == 12 and data["groups"].count(1) == 12  # 12 of each at least
    assert f"The page has 24 of {len(names)} items" in text
    assert names[0] not in data["files"] or data["files"].index(names[19]) == 0


def test_names_that_are_no_utf8_are_shown_somehow(tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    odd = os.fsdecode(b"b\xff.png")
    (tmp_path / "photos" / names[-1]).rename(tmp_path / "photos" / odd)
    for name in ("assignments.csv", "map.csv"):
        text = (run / name).read_text().replace(names[-1], odd)
        (run / name).write_text(text, errors="surrogateescape")
    text = finish(write_page(run)).read_text()
    assert "b?.png" in text and '<span class="gone">' not in text


def test_findings_of_the_data_check_are_shown_with_their_images(tmp_path: Path) -> None:
    run, rows = runs.classifier_run(tmp_path)
    text = finish(write_page(run)).read_text()
    assert "contradicting: 1 image<" in text and "broken.png: damaged picture" in text
    alike = text.split("Images that are alike")[1]
    assert "contradicting: &lt;script&gt;alert(1)&lt;/script&gt; and dog" in alike
    assert alike.index(Path(rows[4][0]).name) < alike.index(Path(rows[8][0]).name)
    assert alike.count("<img") == 2


def test_a_page_that_is_made_later_is_in_the_list_of_what_dltool_wrote(tmp_path: Path) -> None:
    run, _ = runs.cluster_run(tmp_path)
    outputs.mark(run, "cluster")
    outputs.begin("page")
    finish(write_page(run))
    written = outputs.written(run)
    assert Path("index.html") in written and any(path.parts[0] == "index_files" for path in written)

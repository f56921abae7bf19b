"""`dltool page`, and pages that other commands offer."""

import json
from pathlib import Path

import pytest

from dltool.cli.console import Console
from dltool.cli.page import OutputPage, WatchedPage, offer_page, output_page
from dltool.images.folder import Job, find_images
from dltool.pages.settings import PageChoice
from tests.cli.run import run_inside
from tests.pages import runs


def test_page_is_made_and_named(tmp_path: Path) -> None:
    run = runs.generator_run(tmp_path)
    done = run_inside("page", run, "--single-file", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["run"], document["page"]) == (str(run), str(run / "index.html"))
    text = (run / "index.html").read_text()
    assert "data:image/png;base64," in text and 'src="samples' not in text
    assert run_inside("page", run).stdout == f"page {run / 'index.html'}\n"
    assert 'src="samples/epoch-003.png"' in (run / "index.html").read_text()


def test_a_folder_without_a_run_is_a_data_error(tmp_path: Path) -> None:
    done = run_inside("page", tmp_path)
    assert done.exit_code == 3 and "no run that a page can show" in done.stderr


def test_a_page_that_cannot_be_made_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs.generator_run(tmp_path)
    (run / "metrics.jsonl").write_text('{"g_loss": 1}')
    offer_page(Console("gan train", False, False), run, PageChoice())
    assert f"dltool: no page of {run}: " in capsys.readouterr().err
    offer_page(Console("gan train", False, False), run, PageChoice(no_page=True))
    assert capsys.readouterr().err == "" and not (run / "index.html").exists()


def test_a_watched_page_follows_the_run_and_gives_up_once(tmp_path: Path) -> None:
    run = runs.generator_run(tmp_path, finished=False)
    said: list[str] = []
    progress = type("Said", (), {"say": lambda self, text: said.append(text)})()
    page = WatchedPage(progress, run)
    page.update()
    assert "epoch 3" in (run / "index.html").read_text() and said == []
    (run / "metrics.jsonl").write_text("{")
    page.update()
    page.update()
    assert len(said) == 1 and "metrics.jsonl" in said[0]


def test_records_of_a_folder_are_kept_together(tmp_path: Path) -> None:
    run = runs.stylize_run(tmp_path)
    record = run / "index_files" / "results.json"
    before = json.loads(record.read_text())
    again = {"input": "in/d.png", "output": str(runs.draw(run / "d.png", 9)), "status": "done", "error": None}
    skipped = before["items"][1] | {"status": "skipped", "error": None}
    del skipped["content_loss"]
    console = Console("stylize", False, True)
    OutputPage(run, PageChoice()).offer(console, before | {"items": [again, skipped]})
    items = json.loads(record.read_text())["items"]
    outputs = [item["output"] for item in items]
    assert outputs == [before["items"][0]["output"], before["items"][1]["output"], again["output"]]
    assert items[1]["content_loss"] == 0.5  # what made it says more than that it was left alone
    text = (run / "index.html").read_text()
    assert text.count('class="compare"') == 2 and 'alt="d.png, after"' in text  # its photo is not there


def test_thumbnails_are_no_images_of_the_folder(tmp_path: Path) -> None:
    run = runs.stylize_run(tmp_path)
    before = find_images(run)
    assert run_inside("page", run).exit_code == 0
    assert list((run / "index_files").glob("*.jpg")) != [] and find_images(run) == before
    (run / "index.html").unlink()
    assert len(find_images(run)) > len(before)  # such a folder of somebody else's is a folder like any other


def test_single_results_have_no_page_but_where_there_is_one_already(tmp_path: Path) -> None:
    out, choice = tmp_path / "out", PageChoice()
    jobs = [Job(Path(name), out / name) for name in ("a.png", "b.png")]
    assert output_page(out, jobs, choice) == OutputPage(out, choice)
    assert output_page(out, jobs[:1], choice) is None
    assert output_page(out, jobs[:1], choice, always=True) == OutputPage(out, choice)
    assert output_page(out / "a.png", jobs[:1], choice, always=True) is None
    run = runs.stylize_run(tmp_path)
    assert run_inside("page", run).exit_code == 0
    assert output_page(run, [Job(Path("c.png"), run / "c.png")], choice) == OutputPage(run, choice)

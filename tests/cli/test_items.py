"""What is told of a batch of files, and the exit code it leaves with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from dltool.cli.console import Console
from dltool.cli.items import collect_items, left_out, report_batch, report_planned
from dltool.cli.signals import StopRequest
from dltool.errors import DataError, DeviceError, DltoolError
from dltool.images.batch import FileDone
from dltool.images.folder import Job

JOBS = [Job(Path(f"{name}.png"), Path(f"out/{name}.png"), exists=name == "c") for name in "abcd"]


def _events(errors: dict[int, DltoolError], until: int = 4) -> Iterator[FileDone]:
    yield FileDone(JOBS[2], "skipped")  # a batch tells what is there already before all else
    for number in (0, 1, 3)[:until]:
        error = errors.get(number)
        yield FileDone(JOBS[number], "failed" if error else "done", error, None if error else number)


def _items(errors: dict[int, DltoolError], until: int = 4) -> list[dict]:
    return collect_items(_events(errors, until), JOBS, lambda event: None, lambda result: {"number": result})


def _code(items: list[dict], stop: StopRequest | None = None, as_json: bool = True, **more) -> int:
    try:
        report_batch(Console("work", as_json, False), items, {}, "cpu", stop or StopRequest(), len(JOBS), **more)
    except typer.Exit as leaving:
        return leaving.exit_code
    return 0


def test_items_are_in_the_order_of_the_jobs_with_their_figures(capsys: pytest.CaptureFixture[str]):
    assert _code(_items({1: DataError("b.png: damaged picture")})) == 1
    output = capsys.readouterr()
    document = json.loads(output.out)
    told = [(Path(item["input"]).stem, item["status"], item["number"], item["error"]) for item in document["items"]]
    assert told == [
        ("a", "done", 0, None),
        ("b", "failed", None, "b.png: damaged picture"),
        ("c", "skipped", None, None),
        ("d", "done", 3, None),
    ]
    assert document["counts"] == {"done": 2, "skipped": 1, "failed": 1}
    assert output.err.splitlines() == ["dltool: failed: b.png: damaged picture", "2 done, 1 failed, 1 skipped"]


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ([], 0),
        ([DeviceError], 1),
        ([DeviceError, DeviceError, DeviceError], 1),
        ([DataError, DeviceError, DataError, DataError], 1),
        ([DeviceError] * 4, 5),
        ([DataError] * 4, 3),
    ],
)
def test_the_exit_code_is_that_of_all_if_all_failed_alike(failed: list[type[DltoolError]], code: int):
    ends = [FileDone(job, "failed", kind("x")) for job, kind in zip(JOBS, failed, strict=False)]
    ends += [FileDone(job, "done") for job in JOBS[len(failed) :]]
    assert _code(collect_items((end for end in ends), JOBS, lambda event: None, lambda result: {})) == code


def test_a_batch_that_was_stopped_tells_what_is_done_and_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    stop = StopRequest()
    stop.signal = 15
    assert _code(_items({0: DataError("a.png: bad")}, until=1), stop) == 143
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert (document["error"], document["counts"]) == ("interrupted", {"done": 0, "skipped": 1, "failed": 1})
    assert "stopped with 2 of 4 pictures not done; --skip-existing goes on from here" in output.err


def test_lines_say_what_became_of_each_file(capsys: pytest.CaptureFixture[str]):
    errors = {1: DataError("b.png: bad")}
    _code(_items(errors), as_json=False)
    _code(_items(errors), as_json=False, line="{input} is number {number}".format_map)
    out = {name: str(Path("out") / f"{name}.png") for name in "abcd"}
    assert capsys.readouterr().out.splitlines() == [
        *(f"a.png -> {out['a']}", f"b.png -> {out['b']} (failed)"),
        *(f"c.png -> {out['c']} (skipped)", f"d.png -> {out['d']}"),
        *("a.png is number 0", f"b.png -> {out['b']} (failed)", "c.png is number None", "d.png is number 3"),
    ]


def test_a_dry_run_and_a_finished_one_are_reported_without_work(capsys: pytest.CaptureFixture[str]):
    console = Console("work", True, False)
    assert not report_planned(console, JOBS, {}, dry_run=False)
    assert report_planned(console, JOBS, {}, True, lambda result: {"number": result})
    items = json.loads(capsys.readouterr().out)["items"]
    assert [(item["status"], item["number"]) for item in items] == [
        *(("planned", None), ("planned", None), ("skipped", None), ("planned", None))
    ]
    assert report_planned(console, JOBS[2:3], {}, dry_run=False)
    assert json.loads(capsys.readouterr().out)["counts"] == {"done": 0, "skipped": 1, "failed": 0}


def test_the_traceback_of_a_failure_is_for_those_who_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    error = DltoolError("a.png: ValueError: odd")
    error.__cause__ = ValueError("odd")
    _items({0: error})
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DLTOOL_DEBUG", "1")
    _items({0: error})
    assert "\nValueError: odd\n" in "\n" + capsys.readouterr().err


def test_the_first_few_files_that_are_left_out_are_named():
    names = [f"{number}.png: damaged picture" for number in range(10)]
    assert left_out(names[:8]) == [f"left out: {name}" for name in names[:8]]
    assert left_out(names) == [*left_out(names[:8]), "left out: 2 more files that cannot be read"]

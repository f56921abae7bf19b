"""Only what dltool wrote gives way, and never what a command reads."""

import json
from pathlib import Path

import pytest
import torch

from dltool import outputs
from dltool.errors import SettingsError
from dltool.files import write_atomically
from dltool.images.folder import OnExisting, plan_outputs
from dltool.outputs import check_file, check_folder
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside


def test_overwrite_leaves_samples_and_checkpoints_of_others_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "mine"
    for name in ("samples/holiday.jpg", "checkpoints/other.bin", "results.json"):
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        (foreign / name).write_text("mine")
    with pytest.raises(SettingsError, match="did not write"):
        RunFolder(foreign).create(overwrite=True)
    assert sorted(path.name for path in foreign.rglob("*") if path.is_file()) == [
        "holiday.jpg",
        "other.bin",
        "results.json",
    ]


def test_overwrite_removes_what_the_list_names_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(False, "gan train")
    write_atomically(run.path / "samples" / "epoch-001.png", b"1")
    run.save_checkpoint({"epoch": 1})
    (run.path / "samples" / "mine.png").write_bytes(b"2")
    outputs.forget(run.path)
    write_atomically(run.path / "samples" / "of-another-command.png", b"3")
    again = RunFolder(tmp_path / "run")
    again.create(True, "gan train")
    left = sorted(path.name for path in (run.path / "samples").iterdir())
    assert left == ["mine.png", "of-another-command.png"]
    assert again.load_checkpoint() is None
    # It fails before its first checkpoint: the older one is put back.
    again.discard_unstarted()
    back = RunFolder(tmp_path / "run")
    assert back.load_checkpoint() == {"epoch": 1}
    assert (run.path / "samples" / "epoch-001.png").read_bytes() == b"1"
    assert Path("samples/epoch-001.png") in outputs.written(run.path)


def test_a_run_of_a_dltool_without_lists_gives_way(tmp_path: Path) -> None:
    config = {"command": "finetune", "version": "0.1", "data": {}, "settings": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({"epoch": 2}, tmp_path / "last.ckpt")
    (tmp_path / "samples").mkdir()
    for name in ("epoch-001.png", "mine.png"):
        (tmp_path / "samples" / name).write_text(name)
    run = RunFolder(tmp_path)
    run.create(True, "finetune")
    run.save_checkpoint({"epoch": 1})
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["mine.png"]


@pytest.mark.parametrize("left", ["", '{"command": "stylize"}\n"a.png"\n"b.p'], ids=["nothing", "half a line"])
def test_a_list_that_a_crash_cut_short_goes_on(tmp_path: Path, left: str) -> None:
    (tmp_path / outputs.MARKER).write_text(left)
    outputs.begin("stylize")
    outputs.mark(tmp_path, "stylize")
    write_atomically(tmp_path / "b.png", b"1")
    lines = (tmp_path / outputs.MARKER).read_text().splitlines()
    assert json.loads(lines[0])["command"] == "stylize"
    assert [json.loads(line) for line in (lines[1], lines[-1])] == ["a.png" if left else "b.png", "b.png"]


def test_a_list_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "run"
    outputs.mark(folder, "cluster")
    (folder / "link").symlink_to(tmp_path)
    names = ["../outside.txt", str(outside), "link/outside.txt", "config.json"]
    (folder / outputs.MARKER).write_text("".join(json.dumps(name) + "\n" for name in names) + '"cut sho')
    (folder / "config.json").write_text("{}")
    assert outputs.written(folder) == [Path("config.json")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_read_is_no_output(tmp_path: Path, overwrite: bool) -> None:
    data = tmp_path / "data"
    outputs.mark(data, "gan sample")  # even where dltool made the data
    (data / "cat").mkdir()
    image = data / "cat" / "1.csv"
    image.write_text("x")
    for folder, read in ((data, data), (tmp_path, data), (data, image)):
        with pytest.raises(SettingsError, match="which is read" if folder != read else "is what is read"):
            check_folder("-o", folder, overwrite, [read])
    with pytest.raises(SettingsError, match="would overwrite an input"):
        check_file("--csv", image, overwrite, [image])
    with pytest.raises(SettingsError, match="inside"):
        check_file("--csv", image, overwrite, [data])
    check_file("--csv", data / "new.csv", overwrite, [data])


def test_a_table_replaces_tables_only(tmp_path: Path) -> None:
    for name in ("photo.png", "model.safetensors"):
        (tmp_path / name).write_text("x")
        with pytest.raises(SettingsError, match="is not replaced"):
            check_file("--csv", tmp_path / name, True, [], outputs.TABLES)
    (tmp_path / "old.csv").write_text("x")
    check_file("--csv", tmp_path / "old.csv", True, [], outputs.TABLES)


def test_in_a_folder_of_results_only_what_dltool_wrote_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "in" / "b.jpg").touch()
    what = ([tmp_path / "in"], out, ".png", OnExisting.OVERWRITE)
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (job, _) = plan_outputs(*what)
    assert not outputs.is_marked(out)  # a plan writes nothing
    write_atomically(job.output, b"1")
    assert outputs.written(out) == [Path("a.png")]
    outputs.begin("another run")
    plan_outputs(*what)
    (out / "b.png").write_text("mine")
    with pytest.raises(SettingsError, match=r"b\.png: dltool did not write this file into .*; choose another -o"):
        plan_outputs(*what)
    assert [job.exists for job in plan_outputs(*what[:3], OnExisting.SKIP)] == [True, True]
    # A folder that others fill, too, is no folder for a run.
    with pytest.raises(SettingsError, match="did not write"):
        check_folder("-o", out, overwrite=True)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "m.safetensors", "-o"),
        ("predict", "m.safetensors", "a.png", "--csv"),
        ("ae", "reconstruct", "m.safetensors", "a.png", "-o", "sheet.png", "--csv"),
        ("gan", "evaluate", "m.safetensors", "digits", "--sheet"),
        ("featmap", "--filters", "-o"),
        ("ae", "denoise", "a.png", "-o"),
        ("stylize", "a.png", "-s", "a.png", "-o"),
    ],
)
def test_no_command_overwrites_its_file_of_settings(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.safetensors", "a.png"):
        Path(name).touch()
    command = [word for word in words[:2] if word.isalpha()]
    suffix = {"--csv": "csv", "-o": "png", "--sheet": "png"}[words[-1]]
    settings = Path(f"settings.{'onnx' if words[0] == 'export' else suffix}")
    settings.write_text(f"[{'.'.join(command)}]\n")
    refused = run_inside(*words, settings, "--config", settings, "--overwrite")
    assert refused.exit_code == 2 and "would overwrite an input" in refused.stderr, refused.stderr
    assert settings.read_text().startswith("[")

"""Files of a run that are damaged: one line that says so and what to do, never an error of Python."""

from pathlib import Path

import pytest
import torch

from dltool.data.splits import content_hash, read_splits_csv
from dltool.data.store import ContentStore
from dltool.errors import DataError, ModelError, SettingsError
from dltool.images.sorting import SortBy, place_file
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside

_HEAD = "sample,class,split,content\n"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"settings": {"nonsense": 1}, "data": {}}', '{"settings": [], "data": {}}', "\xff"]
)
def test_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    refused = run_inside("gan", "train", "digits", "-o", tmp_path, "--resume", "-q")
    assert refused.exit_code == 2 and "config.json: is damaged; delete" in refused.stderr, refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_checkpoint_with_any_byte_changed_or_cut_short(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"model": {"w": torch.arange(4000.0)}, "epoch": 3})
    whole = run.checkpoint.read_bytes()
    for place in range(0, len(whole), 157):
        run.checkpoint.write_bytes(whole[:place])
        with pytest.raises(ModelError, match=r"last.ckpt: is damaged; delete"):
            run.load_checkpoint()
    silent = 0
    for place in range(0, len(whole), 157):
        run.checkpoint.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            state = run.load_checkpoint()
        except ModelError as error:
            assert "is damaged; delete" in str(error)
            continue
        # Bytes between the parts of the archive mean nothing.
        silent += not (state["epoch"] == 3 and torch.equal(state["model"]["w"], torch.arange(4000.0)))
    assert silent == 0
    torch.save([1, 2], run.checkpoint)
    with pytest.raises(ModelError, match="is damaged"):
        run.load_checkpoint()


@pytest.mark.parametrize("row", ["a.png,cat,train", "a.png,cat", "a.png,cat,train,{}", "a.png,cat,train,{0}{0},more"])
def test_rows_of_splits_that_are_cut_short_are_no_rows(tmp_path: Path, row: str) -> None:
    file, digest = tmp_path / "splits.csv", content_hash(b"x")
    file.write_text(f"{_HEAD}b.png,cat,val,{digest}\n{row.format(digest[:20])}\n")
    with pytest.raises(DataError, match=r"splits.csv: is damaged in line 3"):
        read_splits_csv(file)
    file.write_text("")
    with pytest.raises(DataError, match="not a splits file"):
        read_splits_csv(file)
    file.write_text(f"{_HEAD}b.png,cat,val,{digest}\n")
    assert read_splits_csv(file) == {digest: "val"}


def test_kept_features_with_a_bit_changed_are_computed_anew(tmp_path: Path) -> None:
    digest = content_hash(b"x")
    ContentStore(tmp_path).add([digest], torch.ones(1, 8))
    (file,) = tmp_path.iterdir()
    assert digest in ContentStore(tmp_path)
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    assert digest not in ContentStore(tmp_path)


def test_what_a_killed_process_left_half_written_goes_at_the_next_start(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    (run.path / "samples").mkdir(parents=True)
    dead = run.path / "samples" / f".{'0' * 16}.4194999.part"  # beyond the largest process number of Linux
    for file in (dead, run.path / "samples" / ".mine.part"):
        file.write_bytes(b"half")
    run.go_on("gan train")
    assert [path.name for path in (run.path / "samples").iterdir()] == [".mine.part"]
    run.release()


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "target" / "in").mkdir(parents=True)
    with pytest.raises(Exception, match="cannot be written"):
        place_file(tmp_path / "a", tmp_path / "target", SortBy.COPY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "target"]
    with pytest.raises(SettingsError, match="no run in"):
        RunFolder(tmp_path).read_config()

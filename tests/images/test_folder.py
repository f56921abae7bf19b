import os
from pathlib import Path

import pytest

from dltool import outputs
from dltool.errors import DataError, SettingsError
from dltool.files import write_atomically
from dltool.images.folder import Job, OnExisting, find_images, list_images, plan_outputs


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_are_found_in_natural_order_without_hidden_and_other_files(tmp_path: Path):
    names = ["10.jpg", "2.JPG", "b/1.png", ".hidden.jpg", ".git/x.png", "notes.txt", "B2.webp"]
    _touch(*(tmp_path / name for name in names))
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["2.JPG", "10.jpg", "b/1.png", "B2.webp"]


def test_a_link_back_to_the_folder_does_not_go_round_for_ever(tmp_path: Path):
    _touch(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == [tmp_path / "a" / "1.png"]


def test_what_is_called_an_image_and_is_none_is_kept_to_be_named(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert [path.stem for path in find_images(tmp_path)] == ["gone", "loop", "pipe", "zero"]
    assert [path.stem for path, _ in list_images([tmp_path])] == ["gone", "loop", "pipe", "zero"]
    assert len(list_images([tmp_path / "gone.png", tmp_path / "loop.png"])) == 2


def test_sub_folders_are_mirrored(tmp_path: Path):
    _touch(tmp_path / "in" / "x" / "a.jpg", tmp_path / "in" / "y" / "a.jpg")
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out", ".png", OnExisting.ERROR)
    assert [job.output.relative_to(tmp_path / "out") for job in jobs] == [Path("x/a.png"), Path("y/a.png")]


def test_names_that_differ_in_suffix_only_do_not_collide(tmp_path: Path):
    _touch(tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "b.jpg")
    jobs = plan_outputs([tmp_path], tmp_path / "out", ".png", OnExisting.ERROR)
    assert [job.output.name for job in jobs] == ["a.jpg.png", "a.png.png", "b.png"]


def test_several_folders_keep_apart(tmp_path: Path):
    _touch(tmp_path / "one" / "a.jpg", tmp_path / "two" / "a.jpg")
    jobs = plan_outputs([tmp_path / "one", tmp_path / "two"], tmp_path / "out", ".png", OnExisting.ERROR)
    assert [job.output.relative_to(tmp_path / "out") for job in jobs] == [Path("one/a.png"), Path("two/a.png")]


def test_outputs_inside_the_input_are_not_read_again(tmp_path: Path):
    _touch(tmp_path / "a.jpg", tmp_path / "out" / "a.png")
    jobs = plan_outputs([tmp_path], tmp_path / "out", ".png", OnExisting.SKIP)
    assert jobs == [Job(tmp_path / "a.jpg", tmp_path / "out" / "a.png", exists=True)]


def test_one_file_goes_to_a_file_or_into_a_folder(tmp_path: Path):
    _touch(tmp_path / "a.jpg")
    to_file = plan_outputs([tmp_path / "a.jpg"], tmp_path / "b.webp", ".png", OnExisting.ERROR)
    to_folder = plan_outputs([tmp_path / "a.jpg"], tmp_path / "new", ".png", OnExisting.ERROR)
    assert [to_file[0].output, to_folder[0].output] == [tmp_path / "b.webp", tmp_path / "new" / "a.png"]


def test_a_link_is_a_image_of_its_own_and_one_to_itself_stops_nothing(tmp_path: Path):
    _touch(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "loop.jpg").symlink_to(tmp_path / "in" / "loop.jpg")
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out", ".png", OnExisting.ERROR)
    assert [job.output.name for job in jobs] == ["a.png", "link.png", "loop.png"]


def test_the_same_image_named_twice_is_done_once(tmp_path: Path):
    _touch(tmp_path / "a.jpg")
    jobs = plan_outputs(
        [tmp_path / "a.jpg", tmp_path / "." / "a.jpg", tmp_path], tmp_path / "o", ".png", OnExisting.ERROR
    )
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.jpg", "b.jpg"], "out.png", "several pictures need a folder"),
        (["."], "out.png", "several pictures need a folder"),
        (["a.jpg"], "out.xyz", "cannot write this kind of picture"),
        (["a.jpg"], "a.jpg", "would overwrite an input"),
        (["."], ".", "is the input folder itself"),
        (["a.jpg"], "b.jpg/out", "b.jpg is a file, not a folder"),
        (["a.jpg"], "b.jpg/out.png", "b.jpg is a file, not a folder"),
        (["a.jpg"], "style.png", "would overwrite an input"),
        (["a.jpg", "s/a.jpg"], "out", "would both be written to"),
        (["a.jpg"], "done", "output exists; give --overwrite or --skip-existing"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, inputs: list[str], output: str, message: str
):
    _touch(*(tmp_path / name for name in ("a.jpg", "b.jpg", "s/a.jpg", "done/a.png")))
    with pytest.raises(SettingsError, match=message):
        paths = [tmp_path / name for name in inputs]
        plan_outputs(paths, tmp_path / output, ".png", OnExisting.ERROR, protected=[tmp_path / "style.png"])


def test_existing_outputs_are_replaced_on_demand_but_never_an_input(tmp_path: Path):
    _touch(tmp_path / "a.png")
    outputs.claim(tmp_path / "out")
    write_atomically(tmp_path / "out" / "a.png", b"1")
    jobs = plan_outputs([tmp_path / "a.png"], tmp_path / "out", ".png", OnExisting.OVERWRITE)
    assert jobs == [Job(tmp_path / "a.png", tmp_path / "out" / "a.png")]
    with pytest.raises(SettingsError, match="would overwrite an input"):
        plan_outputs([tmp_path / "a.png"], tmp_path, ".png", OnExisting.OVERWRITE)
    with pytest.raises(SettingsError, match="would overwrite an input"):  # as a reference that dltool made itself
        plan_outputs([tmp_path / "a.png"], tmp_path / "out", ".png", OnExisting.OVERWRITE, [tmp_path / "out"])


def test_missing_and_empty_inputs_are_named(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"nowhere: no such file"):
        plan_outputs([tmp_path / "nowhere"], tmp_path / "out", ".png", OnExisting.ERROR)
    with pytest.raises(DataError, match=r"empty: no pictures"):
        plan_outputs([tmp_path / "empty"], tmp_path / "out", ".png", OnExisting.ERROR)


def test_names_of_any_bytes_and_any_length_are_planned(tmp_path: Path):
    odd = [
        tmp_path / "in" / os.fsdecode(name)
        for name in (b"b\xff.png", b"a\nb.png", b"\x1b[31m.png", b"n" * 246 + b".png")
    ]
    _touch(*odd)
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out", ".png", OnExisting.ERROR)
    assert {job.input for job in jobs} == set(odd)
    too_long = tmp_path / ("n" * 252 + ".png")
    with pytest.raises(DataError, match="no such file or folder"):
        plan_outputs([too_long], tmp_path / "out", ".png", OnExisting.ERROR)
    (job,) = plan_outputs([odd[0]], tmp_path / "out", f".{'s' * 300}", OnExisting.ERROR)
    assert not job.exists


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists every folder")
def test_a_folder_that_cannot_be_listed_is_one_file_that_fails(tmp_path: Path):
    _touch(tmp_path / "a.png", tmp_path / "shut" / "b.png")
    (tmp_path / "shut").chmod(0)
    try:
        assert find_images(tmp_path) == [tmp_path / "a.png", tmp_path / "shut"]
    finally:
        (tmp_path / "shut").chmod(0o700)

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dltool.backbones.weights import load_matching, read_tensors
from dltool.errors import ModelError


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


def test_both_kinds_of_file_are_read(tmp_path: Path):
    tensors = {"a.weight": torch.arange(4.0), "a.bias": torch.ones(2).half()}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        read = read_tensors(tmp_path / name)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[key], tensors[key]) for key in tensors)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": _Evil()}))
    torch.save({"a": _Evil()}, tmp_path / "w.pth")
    for name in ("w.pt", "w.pth"):
        with pytest.raises(ModelError, match=rf"{name}: "):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_missing_and_empty_files_are_named(tmp_path: Path, name: str):
    with pytest.raises(ModelError, match=rf"{name}: no such file"):
        read_tensors(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x02garbage" * 5)
    with pytest.raises(ModelError, match=name):
        read_tensors(tmp_path / name)
    torch.save({"epoch": 1}, tmp_path / "none.pth")
    with pytest.raises(ModelError, match=r"none\.pth: no tensors"):
        read_tensors(tmp_path / "none.pth")


def test_what_fits_is_loaded_and_the_rest_is_listed():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = model[1].bias.clone()
    match = load_matching(
        model,
        {"0.weight": torch.full((3, 2), 7.0).half(), "0.bias": torch.zeros(9), "extra": torch.zeros(1)},
        "w.pth",
    )
    assert match.missing == ("0.bias", "1.weight", "1.bias")
    assert match.unexpected == ("0.bias", "extra")
    assert model[0].weight.dtype == torch.float32
    assert (model[0].weight == 7).all()
    assert torch.equal(model[1].bias, before)


def test_a_file_for_another_network_is_refused_with_both_sides_names():
    with pytest.raises(ModelError, match=r"w\.pth: no tensor fits.*stem\.weight.*0\.weight"):
        load_matching(nn.Sequential(nn.Linear(2, 3)), {"stem.weight": torch.zeros(1)}, "w.pth")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_lack_of_memory_is_not_called_damage(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    (tmp_path / name).touch()
    monkeypatch.setattr(torch, "load", fail)
    monkeypatch.setattr("safetensors.torch.load_file", fail)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        read_tensors(tmp_path / name)


def test_a_dict_that_holds_itself_ends(tmp_path: Path):
    state: dict = {"epoch": 1}
    state["state_dict"] = state
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth: no state dict within"):
        read_tensors(tmp_path / "w.pth")


def test_tensors_larger_than_the_file_are_refused(tmp_path: Path):
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth: w is \[1000000, 1000000\], larger than what the file holds of it"):
        read_tensors(tmp_path / "w.pth")
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "zip.pth", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match=r"zip\.pth: a compressed archive"):
        read_tensors(tmp_path / "zip.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, name: str):
    tensors = {"a": torch.tensor([1.0, float("nan")]), "mask": torch.tensor([0.0, float("-inf")])}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"a has numbers that are none"):
        read_tensors(tmp_path / name)


def test_a_pickle_that_is_cut_short_anywhere_is_named(tmp_path: Path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith(".pkl"))
    for length in range(0, len(members[pickled]), 3):
        with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content[:length] if name == pickled else content)
        with pytest.raises(ModelError, match=r"w\.pth"):
            read_tensors(tmp_path / "w.pth")

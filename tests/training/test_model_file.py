"""One-file models: what goes in comes out, and everything that is not such a file is refused by name."""

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dltool.backbones.preprocessing import Preprocessing
from dltool.errors import ModelError
from dltool.training.model_file import ModelFile, load_model, restore_module, restored_module, save_model


@pytest.fixture
def model() -> ModelFile:
    torch.manual_seed(0)
    return ModelFile(
        command="finetune",
        architecture="mlp",
        arguments={"num_classes": 2},
        tensors=nn.Linear(3, 2).state_dict(),
        class_names=("ant", "biene ü"),
        preprocessing=Preprocessing(resize=40, crop=32),
        metrics={"accuracy": 0.5},
        settings={"lr": 1e-5},
    )


def test_round_trip_keeps_tensors_and_description(tmp_path: Path, model: ModelFile) -> None:
    save_model(tmp_path / "deep" / "m.safetensors", model)
    loaded = load_model(tmp_path / "deep" / "m.safetensors", "finetune")
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in model.tensors.items())
    assert loaded.versions["torch"] == torch.__version__
    assert replace(loaded, tensors={}, versions={}) == replace(model, tensors={})


def test_tied_weights_can_be_saved(tmp_path: Path, model: ModelFile) -> None:
    weight = torch.ones(2, 2)
    save_model(tmp_path / "m.safetensors", replace(model, tensors={"a": weight, "b": weight, "c": weight.t()[:1]}))
    assert torch.equal(load_model(tmp_path / "m.safetensors").tensors["b"], weight)


def test_a_run_stands_for_its_model_and_what_is_missing_is_named(tmp_path: Path, model: ModelFile) -> None:
    run = tmp_path / "run"
    save_model(run / "model.safetensors", model)
    assert load_model(run).class_names == model.class_names
    for path, text in (
        (tmp_path / "nowhere", "nowhere: no such file or folder"),
        (tmp_path, f"model.safetensors: missing; did you mean {run}?"),
    ):
        with pytest.raises(ModelError, match=re.escape(text)):
            load_model(path)
    (run / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"run/model\.safetensors: missing; \S+ is not the folder of a finished run"):
        load_model(run)
    (run / "config.json").touch()
    with pytest.raises(ModelError, match=r"run/model\.safetensors: missing; an unfinished run, .*--resume"):
        load_model(run)


def test_another_commands_model_is_refused(tmp_path: Path, model: ModelFile) -> None:
    save_model(tmp_path / "m.safetensors", replace(model, command="gan"))
    with pytest.raises(ModelError, match=r"m\.safetensors: a model of 'dltool gan'; one of 'dltool finetune'"):
        load_model(tmp_path / "m.safetensors", "finetune")


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    text = json.dumps({"format": 99, "command": "finetune", "versions": {"dltool": "7.1"}})
    save_file({"w": torch.ones(1)}, tmp_path / "m.safetensors", {"dltool": text})
    with pytest.raises(ModelError, match=r"format 99, made by dltool 7\.1"):
        load_model(tmp_path / "m.safetensors")


def test_bare_weights_and_damaged_files_are_refused(tmp_path: Path, model: ModelFile) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="without dltool's description"):
        load_model(tmp_path / "bare.safetensors")
    save_model(tmp_path / "m.safetensors", model)
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-5])
    with pytest.raises(ModelError, match=r"cut\.safetensors: not a readable"):
        load_model(tmp_path / "cut.safetensors")


def test_a_pickle_is_refused_and_its_code_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "code_ran",))

    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="pickles above all, are not opened"):
        load_model(tmp_path / "evil.safetensors")
    assert not (tmp_path / "code_ran").exists()


def test_restoring_names_every_kind_of_difference() -> None:
    tensors = {"weight": torch.ones(2, 4), "extra": torch.ones(1)}
    with pytest.raises(ModelError, match=r"m: .*lacks bias, has extra too many, has weight as \[2, 4\] instead"):
        restore_module(nn.Linear(3, 2), tensors, "m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resize", 100_000),
        ("crop", 0),
        ("crop", 7.5),
        ("mean", [float("nan"), 0.5, 0.5]),
        ("std", [0.2, float("inf"), 0.2]),
        ("std", [0.2, 0.2]),
        ("interpolation", "magic"),
    ],
)
def test_a_preprocessing_that_cannot_be_is_refused(tmp_path: Path, model: ModelFile, name: str, value: object) -> None:
    saved = replace(model, preprocessing=replace(model.preprocessing, **{name: value}))
    save_model(tmp_path / "m.safetensors", saved)
    with pytest.raises(ModelError, match=rf"m\.safetensors: its preprocessing is damaged \({name}"):
        load_model(tmp_path / "m.safetensors")


def test_numbers_that_are_none_are_refused(tmp_path: Path, model: ModelFile) -> None:
    save_model(tmp_path / "m.safetensors", replace(model, tensors={"w": torch.tensor([1.0, float("nan")])}))
    with pytest.raises(ModelError, match=r"m\.safetensors: w has numbers that are none \(NaN\)"):
        load_model(tmp_path / "m.safetensors")


def test_nothing_is_built_that_the_tensors_do_not_fit() -> None:
    """A description that asks for a terabyte is refused by the tensors that lie beside it."""
    built = []

    def build() -> nn.Module:
        layer = nn.Linear(90_000, 3_000_000)
        built.append(layer.weight.device.type)
        return layer

    tensors = nn.Linear(3, 2).state_dict()
    with pytest.raises(ModelError, match=r"m: does not fit .* has weight as \[2, 3\] instead of \[3000000, 90000\]"):
        restored_module(build, {"width": 90_000}, tensors, "m")
    assert built == ["meta"]
    with pytest.raises(ModelError, match="m: its description is damaged: arguments out of range"):
        restored_module(build, {"widths": [10**9]}, tensors, "m")
    module = restored_module(lambda: nn.Linear(3, 2), {"seed": 2**62, "width": 3}, tensors, "m")
    assert torch.equal(module.weight, tensors["weight"]) and module.weight.device.type == "cpu"


@pytest.mark.parametrize(("name", "value"), [("architecture", 1e308), ("metrics", []), ("settings", "x")])
def test_a_description_of_other_kinds_is_damaged(tmp_path: Path, model: ModelFile, name: str, value: object) -> None:
    save_model(tmp_path / "m.safetensors", replace(model, **{name: value}))
    with pytest.raises(ModelError, match=r"m\.safetensors: its description is damaged"):
        load_model(tmp_path / "m.safetensors")


def test_a_network_that_cannot_be_built_is_damaged() -> None:
    with pytest.raises(ModelError, match=r"m: its description is damaged \(float division by zero\)"):
        restored_module(lambda: nn.Linear(int(1 / 0.0), 2), {}, {}, "m")

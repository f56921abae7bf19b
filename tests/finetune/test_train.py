"""Whole runs on small real data: strategies, what stays frozen, resuming, lack of memory, numbers gone bad."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dltool.backbones.pooled import remove_classifier
from dltool.backbones.registry import create_backbone
from dltool.data.features import Extracted
from dltool.data.load import DataReport
from dltool.errors import DeviceError, DltoolError, SettingsError
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.continuation import read_trained
from dltool.finetune.network import Classifier
from dltool.finetune.settings import Balance, Head, HeadInit, Strategy
from dltool.finetune.strategy import Decision
from dltool.finetune.train import Decided, PhaseStart
from dltool.training.events import EpochEnd, Notice, Stopped
from tests.finetune.conftest import events_of, quick, result_of, run

SMALL = {"backbone": "cnn", "batch_size": 16}


def body_tensors() -> dict[str, torch.Tensor]:
    body, _, _ = remove_classifier(create_backbone("efficientnet_lite0"))
    return {f"body.{name}": tensor for name, tensor in body.state_dict().items()}


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_classifier(folder)[0].module.state_dict()


def phases(events: list[Any]) -> list[str]:
    return [event.name for event in events if isinstance(event, PhaseStart)]


def test_auto_on_textures_explains_itself_and_is_right(textures: Path, cache: Path, tmp_path: Path) -> None:
    events = events_of(textures, quick(), tmp_path / "run", cache=cache)
    result = result_of(events)
    decided = next(event for event in events if isinstance(event, Decided))
    assert decided.settings.strategy is Strategy.FEATURES
    assert "linear probe" in decided.reason
    assert result.metrics["accuracy"] >= 0.95
    start = next(event for event in events if isinstance(event, PhaseStart))
    assert sum(block.trainable for block in start.parameters) == 1280 * 3 + 3
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"config.json", "data_check.csv", "model.safetensors", "splits.csv"} <= files
    assert (result.epochs, result.history) == (0, ())
    assert result.cross_validation["samples"] == 36
    head = result.classifier.module.head[0]
    assert not head.mean.any() and bool((head.scale == 1).all())
    known = {content for split in result.dataset.splits.values() for content in split.hashes}
    assert read_trained(tmp_path / "run") == known
    familiar = load_classifier(tmp_path / "run")[0].module.familiar
    assert familiar.centers.shape == (3, 16, 1280) and 0 < float(familiar.threshold) < 1


def test_auto_keeps_the_cheaper_way_where_the_dearer_gains_nothing(
    textures: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dearer = Decision(Strategy.PARTIAL, "the rule says so")
    monkeypatch.setattr("dltool.finetune.decide.choose_strategy", lambda *_: dearer)
    settings = quick(unfreeze=1, epochs=1, head_epochs=1)
    events = events_of(textures, settings, tmp_path / "run", cache=cache)
    first, second = [event for event in events if isinstance(event, Decided)]
    assert (first.settings.strategy, second.settings.strategy) == (Strategy.PARTIAL, Strategy.FEATURES)
    assert "the rule says so; measured on the same 6 images of val, features has a loss of 0." in second.reason
    assert "partial has a loss of" in second.reason
    result = result_of(events)
    assert result.decision == second and result.cross_validation["samples"] == 36
    trained = tensors_of(tmp_path / "run")
    assert all(torch.equal(trained[name], tensor) for name, tensor in body_tensors().items())
    again = events_of(textures, settings, tmp_path / "again", cache=cache)
    assert phases(again) == ["head"] and result_of(again).history == ()
    reason = result_of(again).decision.reason
    assert reason == second.reason.replace("measured on", "measured by an earlier run on")
    same = tensors_of(tmp_path / "again")
    assert all(torch.equal(trained[name], tensor) for name, tensor in same.items())
    other = events_of(textures, replace(settings, epochs=2), cache=cache)
    assert phases(other) == ["head", "body", "head"]


def test_features_leave_the_backbone_bit_for_bit(textures: Path, cache: Path, tmp_path: Path) -> None:
    settings = quick(strategy=Strategy.FEATURES, head=Head.MLP, hidden=16, epochs=3)
    events_of(textures, settings, tmp_path / "run", cache=cache)
    trained = tensors_of(tmp_path / "run")
    assert all(torch.equal(trained[name], tensor) for name, tensor in body_tensors().items())


def test_partial_trains_its_blocks_and_no_statistics(textures: Path, cache: Path, tmp_path: Path) -> None:
    settings = quick(strategy=Strategy.PARTIAL, unfreeze=1, epochs=1, head_epochs=2)
    result = result_of(events_of(textures, settings, tmp_path / "run", cache=cache))
    named = {block.name: block.trainable for block in result.parameters}
    assert [name for name, count in named.items() if count] == ["conv_head", "head"]
    # The best of this phase may be its start, so the module itself is asked what may change.
    module = result.classifier.module
    before = body_tensors()
    for name, tensor in module.state_dict().items():
        if name.startswith("body.") and ("running" in name or not name.startswith(("body.conv_head", "body.bn2"))):
            assert torch.equal(tensor, before[name]), name


def test_two_phase_trains_everything_but_statistics(textures: Path, cache: Path) -> None:
    settings = quick(strategy=Strategy.TWO_PHASE, epochs=1, head_epochs=2, lr=1e-3, augment="basic", ema=0.5)
    events = events_of(textures, settings, cache=cache)
    assert [event.name for event in events if isinstance(event, PhaseStart)] == ["head", "body"]
    result = result_of(events)
    assert all(block.trainable == block.total for block in result.parameters)
    before = body_tensors()
    trained = result.classifier.module.state_dict()
    assert all(torch.equal(trained[name], before[name]) for name in before if "running" in name)


def test_scratch_moves_the_statistics(textures: Path) -> None:
    result = result_of(events_of(textures, quick(strategy=Strategy.SCRATCH, epochs=1)))
    assert int(result.classifier.module.body.bn1.num_batches_tracked) == 4
    assert not torch.equal(result.classifier.module.body.conv_stem.weight, body_tensors()["body.conv_stem.weight"])


def test_the_last_batch_of_one_with_a_batch_norm_head(textures: Path, cache: Path) -> None:
    settings = quick(strategy=Strategy.FEATURES, head=Head.MLP, hidden=8, epochs=2, batch_size=29, accumulate=4)
    events = events_of(textures, settings, cache=cache)
    train = next(event for event in events if isinstance(event, DataReport)).dataset.splits["train"]
    assert len(train) % 29 == 1
    assert result_of(events).epochs == 2


def test_head_from_names_starts_where_imagenet_left_off(cache: Path, textures: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.mkdir()
    for old, new in (("brick", "teapots"), ("grass", "daisies")):
        (named / new).symlink_to(textures / old)
    result = result_of(events_of(named, quick(strategy="features", head_init=HeadInit.NAMES), cache=cache))
    assert result.name_matches == {"teapots": ["teapot"], "daisies": ["daisy"]}
    with pytest.raises(SettingsError, match="none of brick, grass, gravel is the name of an ImageNet class"):
        events_of(textures, quick(strategy="features", head_init=HeadInit.NAMES), cache=cache)


def test_balance_draws_or_weighs_rare_classes(tmp_path: Path, textures: Path, cache: Path) -> None:
    rare = tmp_path / "rare"
    for name, count in (("brick", 10), ("grass", 3)):
        (rare / name).mkdir(parents=True)
        for file in sorted((textures / name).iterdir())[:count]:
            (rare / name / file.name).write_bytes(file.read_bytes())
    for balance in (Balance.WEIGHTS, Balance.SAMPLER):
        result = result_of(events_of(rare, quick(strategy="features", balance=balance), cache=cache))
        assert result.metrics["balanced_accuracy"] == 1.0


def test_a_small_network_learns_digits(tmp_path: Path) -> None:
    result = result_of(events_of("digits", quick(backbone="cnn", size=0, epochs=3, batch_size=64), tmp_path / "run"))
    assert result.metrics["accuracy"] > 0.93
    assert result.classifier.in_channels == 1


def resumable(folder: Path, **settings: Any) -> Any:
    return run("digits", quick(**SMALL, size=0, epochs=3, **settings), folder, limit=60)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = quick(**SMALL, size=0, epochs=3, ema=0.9, augment="basic")
    whole = result_of(events_of("digits", settings, tmp_path / "whole", limit=60))
    asked = {"count": 0}

    def stop() -> bool:
        asked["count"] += 1
        return asked["count"] == 6  # in the middle of the second epoch

    events = events_of("digits", settings, tmp_path / "run", limit=60, should_stop=stop)
    assert isinstance(events[-1], Stopped)
    first = next(event for event in events if isinstance(event, EpochEnd) and event.epoch == 1)
    assert load_classifier(tmp_path / "run")[1].metrics["best_so_far"]["accuracy"] == first.measured["val_accuracy"]
    rest = events_of("digits", settings, tmp_path / "run", limit=60, resume=True)
    trained = rest[-1].classifier.module.state_dict()
    assert all(torch.equal(trained[k], v) for k, v in whole.classifier.module.state_dict().items())
    assert [row["train_loss"] for row in rest[-1].history] == [row["train_loss"] for row in whole.history]


def test_a_second_phase_goes_on_bit_for_bit(textures: Path, cache: Path, tmp_path: Path) -> None:
    settings = quick(strategy=Strategy.TWO_PHASE, epochs=2, head_epochs=3, lr=1e-3, head_lr=1e-3, augment="trivial")
    whole = result_of(events_of(textures, settings, tmp_path / "whole", cache=cache))
    asked = {"count": 0}

    def stop() -> bool:
        asked["count"] += 1
        return asked["count"] == 3 * 5 + 2  # head: 4 steps and the epoch's end, three times; then the second body step

    events = events_of(textures, settings, tmp_path / "run", cache=cache, should_stop=stop)
    assert isinstance(events[-1], Stopped)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["phase"] == 1
    rest = result_of(events_of(textures, settings, tmp_path / "run", cache=cache, resume=True))
    trained = rest.classifier.module.state_dict()
    assert all(torch.equal(trained[k], v) for k, v in whole.classifier.module.state_dict().items())
    assert [row["val_loss"] for row in rest.history] == [row["val_loss"] for row in whole.history]


def test_resume_refuses_changed_settings_by_name_but_lets_epochs_grow(tmp_path: Path) -> None:
    settings = quick(**SMALL, size=0, epochs=1)
    events_of("digits", settings, tmp_path / "run", limit=40)
    with pytest.raises(SettingsError, match=r"--resume: --lr 0\.5 differs from the run's None"):
        events_of("digits", quick(**SMALL, size=0, epochs=1, lr=0.5), tmp_path / "run", limit=40, resume=True)
    with pytest.raises(SettingsError, match="not what the run was started with"):
        events_of("digits", settings, tmp_path / "run", limit=50, resume=True)
    longer = events_of("digits", quick(**SMALL, size=0, epochs=3), tmp_path / "run", limit=40, resume=True)
    assert [row["epoch"] for row in result_of(longer).history] == [1, 2, 3]


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Classifier.forward, {"train": 0}

    def forward(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        calls["train"] += self.training
        return original(self, images) * (float("nan") if self.training and calls["train"] == 6 else 1.0)

    monkeypatch.setattr(Classifier, "forward", forward)
    with pytest.raises(DltoolError, match=r"the loss is nan at step 2 of epoch 2 \(scratch\) with --lr 0\.003"):
        list(resumable(tmp_path / "run"))
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["epoch"] == 1


def test_lack_of_memory_halves_the_parts_and_keeps_the_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "backbone": "mlp", "size": 0, "epochs": 1, "optimizer": "sgd"}
    plain = result_of(events_of("digits", quick(**settings, accumulate=4), limit=60))
    original = Classifier.forward

    def forward(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, images)

    monkeypatch.setattr(Classifier, "forward", forward)
    events = events_of("digits", quick(**settings), limit=60)
    assert "now goes in 4 parts" in next(event.text for event in events if isinstance(event, Notice))
    assert result_of(events).history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-5)

    monkeypatch.setattr(Classifier, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    monkeypatch.setattr("dltool.finetune.phase.ClassifierTrainer.measure", lambda self, model: None)
    with pytest.raises(DeviceError, match="one sample at a time"):
        events_of("digits", quick(**settings), limit=60)


def test_a_time_budget_ends_training_with_its_schedule(tmp_path: Path) -> None:
    settings = quick(**SMALL, size=0, epochs=100_000, time=1.0)
    result = result_of(events_of("digits", settings, tmp_path / "run", limit=60))
    assert 0 < result.epochs < 100_000
    assert result.seconds < 20


def test_patience_ends_a_phase_early(tmp_path: Path) -> None:
    settings = quick(**SMALL, size=0, epochs=30, patience=2, lr=0.0)
    result = result_of(events_of("digits", settings, limit=60))
    assert result.epochs <= 3


def test_a_first_phase_never_wins_with_its_start() -> None:
    events = events_of("digits", quick(**SMALL, size=0, epochs=1, lr=0.0), limit=60)
    ends = [(event.epoch, event.best) for event in events if isinstance(event, EpochEnd)]
    assert ends == [(0, False), (1, True)]
    assert result_of(events).best_epoch == 1


def test_every_epochs_model_can_be_kept(textures: Path, cache: Path, tmp_path: Path) -> None:
    settings = quick(strategy="features", head="mlp", hidden=8, epochs=2, keep_checkpoints=True)
    events = events_of(textures, settings, tmp_path / "run", cache=cache)
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["epoch-001.safetensors", "epoch-002.safetensors"]
    ends = [event for event in events if isinstance(event, EpochEnd) and event.epoch > 0]
    assert ends[-1].measured["val_accuracy"] == result_of(events).history[-1]["val_accuracy"]
    load_classifier(files[0])


def test_config_names_everything_that_decides_the_result(tmp_path: Path) -> None:
    events_of("digits", quick(**SMALL, size=0, epochs=1), tmp_path / "run", limit=40)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["backbone"] == "cnn"
    assert config["data"]["source"] == "digits"


def test_features_that_were_computed_before_a_stop_are_kept(textures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = run(textures, quick(strategy=Strategy.FEATURES), folder, cache=tmp_path / "cache")
    first = next(event for event in events if isinstance(event, Extracted))
    events.close()
    again = run(textures, quick(strategy=Strategy.FEATURES), tmp_path / "again", cache=tmp_path / "cache")
    assert next(event for event in again if isinstance(event, Extracted)).total == first.total - first.done

"""Seeds, schedules, averages, run folders: the parts that every training loop shares."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dltool.errors import DltoolError, ModelError, SettingsError
from dltool.training import distributed
from dltool.training.ema import Ema
from dltool.training.run_folder import RunFolder, refuse_changes
from dltool.training.schedule import cosine, one_cycle
from dltool.training.seeds import derive_seed, epoch_order, new_generator, seeded
from dltool.training.session import Session, check_finite


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    assert derive_seed(0, "order", 3) == derive_seed(0, "order", 3)
    assert len({derive_seed(a, b, c) for a in range(3) for b in ("x", "y") for c in range(3)}) == 18
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert new_generator(5).initial_seed() < 2**63


def test_an_epochs_order_needs_no_history() -> None:
    orders = [epoch_order(100, seed=1, epoch=epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(epoch_order(100, seed=1, epoch=2), orders[2])


def test_weights_draw_rare_samples_more_often() -> None:
    drawn = epoch_order(3000, 0, 0, weights=np.r_[np.ones(1500), 3 * np.ones(1500)])
    assert 0.7 < (drawn >= 1500).mean() < 0.8


def test_seeded_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    with seeded(1):
        first = torch.rand(3)
    with seeded(1):
        assert torch.equal(torch.rand(3), first)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(2), expected)


def test_schedules_rise_and_fall_as_published() -> None:
    assert cosine(0.05, warmup=0.1) == pytest.approx(0.5)
    assert (cosine(0.1, 0.1), cosine(0.55, 0.1), cosine(1.0, 0.1)) == pytest.approx((1.0, 0.5, 0.0))
    assert (one_cycle(0.0), one_cycle(0.15), one_cycle(1.0)) == pytest.approx((1 / 25, 1.0, 0.0))


def test_ema_follows_and_copies_counters() -> None:
    module = nn.BatchNorm1d(2)
    ema = Ema(module, decay=0.5)
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.num_batches_tracked.fill_(9)
    ema.update(module)
    # The first step's decay is min(0.5, 2 / 11).
    assert ema.module.weight[0].item() == pytest.approx(1 + 2 * (1 - 2 / 11))
    assert ema.module.num_batches_tracked == 9


def test_a_run_folder_is_not_overwritten_unasked(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(overwrite=False)
    run.write_json("config.json", {"a": 1})
    (run.path / "mine.txt").write_text("keep me")
    with pytest.raises(SettingsError, match="exists and is not empty; --resume goes on with it, --overwrite"):
        run.create(overwrite=False)
    run.create(overwrite=True)
    assert [p.name for p in run.path.iterdir() if not p.name.startswith(".dltool")] == ["mine.txt"]
    with pytest.raises(SettingsError, match="choose another"):
        run.create(overwrite=False)
    with pytest.raises(SettingsError, match=r"no run in .*run"):
        run.read_config()


def test_checkpoints_hold_no_code(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.load_checkpoint() is None
    run.save_checkpoint({"model": {"w": torch.ones(2)}, "epoch": 3, "history": [{"loss": 0.5}]})
    assert run.load_checkpoint()["epoch"] == 3

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    run.checkpoint.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="nothing was loaded"):
        run.load_checkpoint()
    assert not (tmp_path / "ran").exists()


def test_changed_settings_are_refused_by_name() -> None:
    old = {"lr": 0.1, "epochs": 5, "time": None}
    refuse_changes(old, {**old, "epochs": 9, "time": 60.0}, may_change=("time",))
    with pytest.raises(SettingsError, match=r"--lr 0\.2 differs from the run's 0\.1"):
        refuse_changes(old, {**old, "lr": 0.2})
    with pytest.raises(SettingsError, match=r"--epochs 4 differs .* \(epochs may only grow\)"):
        refuse_changes(old, {**old, "epochs": 4})


def test_session_ends_the_schedule_with_the_time(tmp_path: Path) -> None:
    session = Session(RunFolder(tmp_path), budget=1000.0)
    session.resume({"history": [{"epoch": 1}], "elapsed": 600.0})
    assert session.progress(0.1) == pytest.approx(0.6, abs=0.01)
    assert session.progress(0.9) == 0.9
    assert session.progress(0.0, begun=200.0) == pytest.approx(0.5, abs=0.01)
    session.save({"epoch": 1})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"epoch": 1}
    assert RunFolder(tmp_path).load_checkpoint()["elapsed"] >= 600.0
    assert Session(None).progress(0.25) == 0.25


def test_a_loss_that_is_no_number_is_an_error_with_its_place() -> None:
    check_finite(1.0, "step 1", "--lr 1")
    with pytest.raises(DltoolError, match="the loss is inf at step 7 with --lr 1"):
        check_finite(float("inf"), "step 7", "--lr 1")


def test_alone_every_collective_is_the_identity() -> None:
    rows = torch.arange(4.0)
    assert torch.equal(distributed.gather_rows(rows, 4), rows)
    assert torch.equal(distributed.sum_over_ranks(rows.clone()), rows)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.any_rank(True) is True


def test_a_run_killed_between_checkpoint_and_history_has_its_last_line_after_resuming(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_history([{"epoch": 1}])
    run.save_checkpoint({"history": [{"epoch": 1}, {"epoch": 2}], "elapsed": 1.0})
    Session(run).resume(run.load_checkpoint())
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == ['{"epoch": 1}', '{"epoch": 2}']

"""The training loop with a trainer of a few lines: who gets which samples, when it ends, that it goes on bit-equal."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dltool.errors import DltoolError
from dltool.events import finish
from dltool.training import distributed
from dltool.training.events import EpochEnd, StepEnd
from dltool.training.loop import TrainingLoop
from dltool.training.run_folder import RunFolder
from dltool.training.schedule import cosine
from dltool.training.seeds import epoch_order, new_generator
from dltool.training.session import Session
from dltool.training.trainer import Batch, Measured, Plan, Share, Trainer

COUNT = 23
INPUTS = torch.randn(COUNT, 3, generator=new_generator(0))
TRUTH = INPUTS @ torch.tensor([[1.0], [-2.0], [0.5]])


class LineTrainer(Trainer):
    """Least squares; `losses` are what it says it measured, or None for the truth."""

    def __init__(self, module: nn.Module, losses: Sequence[float] = ()) -> None:
        self._module = module
        self._losses = iter(losses)
        self.begun: list[int] = []
        self.written: list[int] = []

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        for share in shares:
            rows = torch.from_numpy(share.samples)
            yield INPUTS[rows], TRUTH[rows]

    def loss(self, batch: Batch, share: Share) -> Tensor:
        return (self._module(batch[0]) - batch[1]).square().sum() * share.weight

    def begin_epoch(self, epoch: int) -> None:
        self.begun.append(epoch)

    def measure(self, model: nn.Module) -> Measured:
        assert not model.training
        loss = next(self._losses, None)
        loss = float((model(INPUTS) - TRUTH).detach().square().mean()) if loss is None else loss
        return Measured({"loss": loss}, loss, (-loss,))

    def write_best(self, tensors: dict[str, Tensor], best: dict[str, Any]) -> None:
        self.written.append(best["epoch"])


def new_plan(**changes: Any) -> Plan:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 1))
    plan = Plan(
        module=module,
        parameters=list(module.parameters()),
        optimizer=torch.optim.Adam(module.parameters(), lr=0.1),
        schedule=cosine,
        order=lambda epoch: epoch_order(COUNT, 0, epoch),
        batch_size=5,
        epochs=6,
        seeds=(0,),
        blame="--lr 0.1",
        advice="try less",
        ema=0.5,
    )
    return replace(plan, **changes)


def test_it_learns_and_the_module_holds_the_best_state() -> None:
    plan = new_plan(epochs=40)
    trainer, session = LineTrainer(plan.module), Session(None)
    events: list[Any] = []
    loop = TrainingLoop(plan, trainer, session)
    assert finish(loop.run(), events.append) is True
    rows = {row["epoch"]: row["loss"] for row in session.history}
    assert loop.best["loss"] == min(rows.values()) == rows[loop.best["epoch"]] < 0.05 * rows[1]
    assert trainer.measure(plan.module.eval()).loss == loop.best["loss"]
    assert trainer.begun == list(range(40))
    assert [event.epoch for event in events if isinstance(event, EpochEnd)] == list(range(41))
    assert {event.steps for event in events if isinstance(event, StepEnd)} == {5}


@pytest.mark.parametrize("stop_at", [1, 5, 6, 13])
def test_stopped_anywhere_it_goes_on_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    whole = new_plan()
    assert finish(TrainingLoop(whole, LineTrainer(whole.module), Session(None)).run())
    plan = new_plan()
    calls = iter(range(1, 100))
    session = Session(RunFolder(tmp_path), lambda: next(calls) == stop_at)
    assert finish(TrainingLoop(plan, LineTrainer(plan.module), session).run()) is False
    state = RunFolder(tmp_path).load_checkpoint()
    again = new_plan()
    loop, session = TrainingLoop(again, LineTrainer(again.module), Session(None)), Session(None)
    session.resume(state)
    loop.resume(state)
    assert finish(loop.run())
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], tensor), name


def test_patience_counts_from_the_best_epoch_and_the_start_of_a_first_part_is_never_it() -> None:
    losses = [0.1, 0.9, 0.5, 0.6, 0.7, 0.2]
    for number, best, epochs in ((0, 2, 4), (1, 0, 2)):
        plan = new_plan(patience=2, number=number)
        session = Session(None)
        loop = TrainingLoop(plan, LineTrainer(plan.module, losses), session)
        assert finish(loop.run())
        assert (loop.best["epoch"], len(session.history)) == (best, epochs)


def test_a_penalty_moves_the_weights_but_not_the_loss_that_is_told() -> None:
    told, weights = [], []
    for strength in (0.0, 1e6):
        plan = new_plan(epochs=1, batch_size=COUNT, ema=0.0)
        weight, session = plan.module[1].weight, Session(None)
        before = weight.detach().clone()
        plan = replace(plan, penalty=lambda weight=weight, strength=strength: strength * weight.square().sum())
        finish(TrainingLoop(plan, LineTrainer(plan.module), session).run())
        told.append(session.history[0]["train_loss"])
        weights.append(weight.detach())
    assert told[0] == told[1]
    assert (weights[1].abs() < before.abs()).all() and not torch.equal(*weights)


def test_the_best_is_written_when_the_watcher_leaves_or_training_fails() -> None:
    plan = new_plan()
    trainer = LineTrainer(plan.module)
    events = TrainingLoop(plan, trainer, Session(None)).run()
    while not (isinstance(event := next(events), EpochEnd) and event.epoch == 3):
        pass
    events.close()
    assert trainer.written[0] == 1 and len(trainer.written) == 2
    plan = new_plan()
    trainer = LineTrainer(plan.module, [1.0, 0.9, float("nan")])
    with pytest.raises(DltoolError, match=r"the loss is nan at the end of epoch 2 with --lr 0\.1"):
        finish(TrainingLoop(plan, trainer, Session(None)).run())
    assert trainer.written == [1]


def test_processes_share_every_batch_and_none_is_left_without(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = new_plan(batch_size=3)
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    shares = []
    for rank in range(4):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(TrainingLoop(plan, LineTrainer(plan.module), Session(None))._shares())
    order = plan.order(0)
    for step, batch in enumerate(np.array_split(order, 8)):
        own = [process[step] for process in shares]
        taken = [number for share in own if share.weight for number in share.samples]
        assert sorted(taken) == sorted(batch)
        assert all(len(share.samples) and (batch[share.rows] == share.samples).all() for share in own)
        assert sum(share.weight * len(share.samples) for share in own) == pytest.approx(1)

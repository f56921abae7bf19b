"""The training loop: epochs of steps within the time, measured, averaged, checkpointed, stopped and resumed.

What a step learns and what is measured is a `Trainer` (`dltool.training.trainer`), of which every command has its own.
"""

import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.device import expect_equal_shapes
from dltool.training import distributed
from dltool.training.ema import Ema
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.memory import halve_until_it_fits
from dltool.training.seeds import seed_step
from dltool.training.session import Session, check_finite
from dltool.training.trainer import Batch, Plan, Share, Trainer

# Reading the loss waits for a GPU; so there it is read, and looked at, only every so many steps.
_GPU_LOOK = 16
# A new best model is written at once, but in short epochs not more often than this.
_BEST_SECONDS = 10.0


class TrainingLoop:
    """Carries a plan out; its state can be saved after any step and taken up again."""

    def __init__(self, plan: Plan, trainer: Trainer, session: Session) -> None:
        self.epoch = 0
        self.best: dict[str, Any] = {"epoch": -1}
        self._plan = plan
        self._trainer = trainer
        self._session = session
        self._device = next(plan.module.parameters()).device
        expect_equal_shapes(self._device)
        self._rates = [group["lr"] for group in plan.optimizer.param_groups]
        self._ema = Ema(plan.module, plan.ema) if plan.ema else None
        self._parts = plan.parts
        self._step = 0
        self._loss_sum: Tensor | float = 0.0
        self._stale = 0
        self._begun = 0.0
        self._worth: tuple[float, ...] = ()
        self._best_tensors: dict[str, Tensor] = {}
        self._best_is_new = False
        self._best_written = float("-inf")

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state()` returned in an earlier process."""
        self._plan.module.load_state_dict(state["model"])
        self._plan.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self._plan.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
            self._ema.steps = state["ema_steps"]
        self.epoch, self._step, self._loss_sum = state["epoch"], state["step"], state["loss_sum"]
        self._stale, self._parts, self._begun = state["stale"], state["parts"], state["begun"]
        self.best, self._worth = dict(state["best"]), tuple(state["worth"])
        self._best_tensors = dict(state["best_tensors"])
        self._best_is_new = bool(self._best_tensors)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on: tensors, numbers and texts."""
        return {
            "phase": self._plan.number,
            "epoch": self.epoch,
            "step": self._step,
            "loss_sum": float(self._loss_sum),
            "stale": self._stale,
            "parts": self._parts,
            "begun": self._begun,
            "model": self._plan.module.state_dict(),
            "optimizer": self._plan.optimizer.state_dict(),
            "ema": self._ema.module.state_dict() if self._ema else None,
            "ema_steps": self._ema.steps if self._ema else 0,
            "best": self.best,
            "worth": list(self._worth),
            "best_tensors": self._best_tensors,
        }

    def run(self) -> Generator[StepEnd | EpochEnd | Notice | Stopped, None, bool]:
        """Train to the end, after which the module holds its best state, and return True; False if it was stopped.

        Raises:
            DltoolError: the loss is not finite.
            DeviceError: not even one sample fits into memory.
        """
        try:
            finished = yield from self._run()
            if not finished:
                self._write_best()
                yield Stopped()
                return False
        except BaseException:  # GeneratorExit too: whoever watched the run has left it
            self._write_best()
            raise
        if self._best_tensors:
            best = {name: tensor.to(self._device) for name, tensor in self._best_tensors.items()}
            self._plan.module.load_state_dict(best)
        return True

    def _run(self) -> Generator[StepEnd | EpochEnd | Notice, None, bool]:
        plan, session = self._plan, self._session
        distributed.share_tensors([*plan.module.parameters(), *plan.module.buffers()])
        session.set_clocks()
        if self.best["epoch"] < 0:
            self._begun = session.elapsed
            yield self._measure(0.0, time.monotonic())
        while self.epoch < plan.epochs and not self._ends_early():
            started = time.monotonic()
            if not (yield from self._run_epoch()):
                return False
            self.epoch += 1
            end = self._measure(float(self._loss_sum) / self._step, started)
            self._step, self._loss_sum = 0, 0.0
            self._trainer.end_epoch(self._averaged, end)
            session.save(self.state())
            if time.monotonic() - self._best_written >= _BEST_SECONDS:
                self._write_best()
            yield end
            session.look()
            if session.stop_requested and self.epoch < plan.epochs:
                return False
        return True

    def _ends_early(self) -> bool:
        plan = self._plan
        up = plan.timed and self._session.time_is_up
        return self.epoch > 0 and (up or 0 < plan.patience <= self._stale)

    @property
    def _averaged(self) -> nn.Module:
        return self._ema.module if self._ema else self._plan.module

    def _run_epoch(self) -> Generator[StepEnd | Notice, None, bool]:
        """The rest of an epoch; False if it was stopped."""
        plan, session = self._plan, self._session
        shares = self._shares()
        if self._step == 0:
            self._trainer.begin_epoch(self.epoch)
        every = 1 if self._device.type == "cpu" else _GPU_LOOK
        plan.module.train()
        left = shares[self._step :]
        if not left:  # stopped between its last step and its end
            return True
        for share, batch in zip(left, self._trainer.batches(left), strict=True):
            before = self._parts
            self._loss_sum += self._train_step(share, batch)
            self._step += 1
            if self._parts != before:
                yield Notice(f"out of memory: every batch of {share.count} now goes in {self._parts} parts")
            if self._step % every and self._step < share.steps:
                continue
            mean = float(self._loss_sum) / self._step
            place = f"step {self._step} of epoch {self.epoch + 1}"
            check_finite(mean, f"{place} ({plan.phase})" if plan.phase else place, plan.blame)
            yield StepEnd(plan.phase, self.epoch + 1, plan.epochs, self._step, share.steps, mean)
            session.look()
            if session.stop_requested:
                session.save(self.state())
                return False
            if self._step < share.steps and session.checkpoint_due:
                session.save(self.state())
            if plan.timed and session.time_is_up:
                break
        return True

    def _shares(self) -> list[Share]:
        """The epoch's batches, of nearly equal sizes, so that no last one is too small for a batch norm.

        They don't depend on the number of processes, so that any number of them learns the same.
        """
        plan = self._plan
        rank, world = (distributed.rank(), distributed.world_size()) if plan.shared else (0, 1)
        order = plan.order(self.epoch)
        steps = -(-len(order) // plan.batch_size)
        if steps > 1 and len(order) // steps < 2 <= plan.batch_size:
            steps -= 1
        shares = []
        for step, batch in enumerate(np.array_split(order, steps)):
            # One that gets no sample of its own keeps the others company with weight 0.
            rows, weight = (slice(rank, None, world), 1 / len(batch)) if rank < len(batch) else (slice(1), 0.0)
            shares.append(Share(self.epoch, step, steps, batch[rows], rows, len(batch), weight))
        return shares

    def _train_step(self, share: Share, batch: Batch) -> Tensor | float:
        """Move the weights by one batch; return its mean loss over all processes, on the CPU as a number."""
        plan = self._plan
        done = (share.epoch + share.step / share.steps) / plan.epochs
        if plan.timed:
            done = self._session.progress(done, self._begun)
        factor = plan.schedule(done)
        for group, rate in zip(plan.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

        def attempt(parts: int) -> Tensor:
            seed_step(*plan.seeds, share.epoch, share.step, distributed.rank() if plan.shared else 0)
            plan.optimizer.zero_grad()
            return self._backward(share, batch, parts)

        most = -(-share.count // (distributed.world_size() if plan.shared else 1))
        loss, self._parts = halve_until_it_fits(attempt, self._parts, most, plan.advice)
        if plan.shared:
            distributed.sum_gradients(plan.parameters, loss)
        if plan.clip:
            nn.utils.clip_grad_norm_(plan.parameters, plan.clip)
        plan.optimizer.step()
        if plan.shared:
            distributed.share_tensors(plan.module.buffers())
        if self._ema is not None:
            self._ema.update(plan.module)
        return float(loss) if self._device.type == "cpu" else loss

    def _backward(self, share: Share, batch: Batch, parts: int) -> Tensor:
        """Accumulate the gradient of the share's loss, in parts, and return that loss."""
        plan, rows = self._plan, len(batch[0])
        # Parts of one sample would break batch norms in training; only a lack of memory makes them that small.
        parts = max(1, min(parts, rows // 2 if parts == plan.parts else rows))
        total: Tensor | float = 0.0
        chunks = list(zip(*(tensor.tensor_split(parts) for tensor in batch), strict=True))
        for number, chunk in enumerate(chunks):
            loss = self._trainer.loss(chunk, share)
            total = total + loss.detach()
            if plan.penalty is not None and number == len(chunks) - 1:
                loss = loss + plan.penalty()
            loss.backward()
        return total

    def _measure(self, train_loss: float, started: float) -> EpochEnd:
        plan, model, epoch = self._plan, self._averaged, self.epoch
        model.eval()
        with torch.no_grad():
            measured = self._trainer.measure(model)
        # What a first part starts from has learnt nothing, and is the best at nothing.
        counts = measured is not None and (epoch > 0 or plan.number > 0)
        better = False
        if measured is not None:
            check_finite(measured.loss, f"the end of epoch {epoch}", plan.blame)
            better = counts and (not self._worth or measured.worth > self._worth)
        self._stale = 0 if better or not counts else self._stale + 1
        if self.best["epoch"] < 0:
            self.best["epoch"] = 0
        if measured is not None and better:
            self.best, self._worth, self._best_is_new = {"epoch": epoch, **measured.values}, measured.worth, True
            self._best_tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        values = measured.values if measured is not None else {}
        end = EpochEnd(plan.phase, epoch, plan.epochs, train_loss, values, better, time.monotonic() - started)
        if epoch > 0 and measured is not None:
            row = {"phase": plan.phase} if plan.phase else {}
            row |= {"epoch": epoch, "train_loss": train_loss, **values, "best": better}
            self._session.history.append({**row, "seconds": round(end.seconds, 3)})
        return end

    def _write_best(self) -> None:
        """Have the best model written if it was not written yet."""
        if self._best_is_new:
            self._trainer.write_best(self._best_tensors, self.best)
            self._best_is_new, self._best_written = False, time.monotonic()

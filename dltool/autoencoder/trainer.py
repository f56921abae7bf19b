"""What an autoencoder learns in a step, how it is measured, and what is kept of every epoch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.batches import Source
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.settings import AeSettings, Arch, Loss, Optimizer
from dltool.autoencoder.sheets import example_count, restoration_sheet
from dltool.device import autocast, use_bf16
from dltool.images.write import write_image
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd
from dltool.training.loop import TrainingLoop
from dltool.training.model_file import save_model
from dltool.training.muon import Muon
from dltool.training.schedule import one_cycle
from dltool.training.seeds import derive_seed, epoch_order
from dltool.training.session import Session
from dltool.training.trainer import Batch, Measured, Plan, Share, Trainer

LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    Loss.MSE: F.mse_loss,
    Loss.L1: F.l1_loss,
    Loss.BCE: F.binary_cross_entropy,
}


class AutoencoderTrainer(Trainer):
    """Learns to give clean images back; the best does so with the least loss on held-out ones."""

    def __init__(
        self, trained: TrainedAutoencoder, source: Source, held_out: HeldOut, settings: AeSettings, context: RunContext
    ) -> None:
        """Train the module of `trained` on the images of `source`, with the noise that `held_out` has too."""
        assert settings.loss is not None
        self._trained = trained
        self._source = source
        self._held_out = held_out
        self._seed = settings.seed
        self._loss = LOSSES[settings.loss]
        self._device = context.device
        # Convolutions to a code learn as much per step with it, in two thirds of the time.
        self._bf16 = use_bf16(settings.precision, context.device, cpu_gains=settings.arch is Arch.CONV)
        self._variational = settings.variational
        self._run = context.run if distributed.rank() == 0 else None

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        images = self._source.batches([share.samples for share in shares], shares[0].epoch)
        for share, batch in zip(shares, images, strict=True):
            clean = batch.to(self._device).float().div_(255).contiguous(memory_format=torch.channels_last)
            yield self._disturb(clean, share), clean

    def _disturb(self, clean: Tensor, share: Share) -> Tensor:
        """The share's images with noise, which is drawn for the whole batch: in any number of processes the same.

        Noise whose draws depend on the images' values, such as shot noise, is still not the same then.
        """
        noise = self._held_out.noise
        if noise is None:
            return clean
        seed = derive_seed(self._seed, "noise", share.epoch, share.step)
        generator = torch.Generator(self._device).manual_seed(seed)
        whole, rows = clean, slice(None)
        if len(clean) < share.count:
            rows = share.rows
            whole = clean.new_zeros((share.count, *clean.shape[1:])).contiguous(memory_format=torch.channels_last)
            whole[rows] = clean
        return noise(whole, generator)[rows].contiguous(memory_format=torch.channels_last)

    def loss(self, batch: Batch, share: Share) -> Tensor:
        noisy, clean = batch
        if self._variational:
            with autocast(self._device, self._bf16):
                restored, divergence = self._trained.module.sampled(noisy)
            return variational_loss(restored.float(), clean, divergence) * (len(clean) * share.weight)
        with autocast(self._device, self._bf16):
            restored = self._trained.module(noisy)
        return self._loss(restored.float(), clean) * (len(clean) * share.weight)

    def measure(self, model: nn.Module) -> Measured:
        values = self._held_out.measure(model, self._device, self._loss)
        return Measured(values, values["loss"], (-values["loss"],))

    def end_epoch(self, model: nn.Module, end: EpochEnd) -> None:
        if self._run is None:
            return
        name, rows = show_examples(self._held_out, model, self._device)
        sheet = restoration_sheet(rows, f"epoch {end.epoch}, {name}: held out {end.measured['loss']:.5f}")
        write_image(self._run.path / "samples" / f"epoch-{end.epoch:03d}.png", sheet)

    def write_best(self, tensors: Mapping[str, Tensor], best: Mapping[str, Any]) -> None:
        if self._run is not None:
            save_model(self._run.model, self._trained.to_file({"best_so_far": dict(best)}, tensors))


def variational_loss(restored: Tensor, clean: Tensor, divergence: Tensor) -> Tensor:
    """Squared error and divergence of the code, weighed as in a σ-VAE (Rybkin et al. 2021).

    The noise that the decoder leaves has the variance that suits it best, the error itself, so that nothing has to be
    chosen: D/2 · ln(error) + divergence has the gradient of error + 2 · error / D · divergence, the error in the
    second place held still. In this form the loss is in units of the squared error.

    Args:
        restored, clean: N × C × H × W in [0, 1], of D values each.
        divergence: N, in nats.
    """
    error = F.mse_loss(restored, clean)
    return error + 2 * error.detach() / clean[0].numel() * divergence.mean()


def show_examples(held_out: HeldOut, model: nn.Module, device: torch.device) -> tuple[str, dict[str, Tensor]]:
    """The noise's name, and a few held-out images by what was done to them: clean, noisy if so, and restored."""
    count = example_count(*held_out.groups[0].shape[2:])
    name, clean, noisy, restored = held_out.examples(model, device, count)
    rows = {"clean": clean} if held_out.noise is None else {"clean": clean, "noisy": noisy}
    return name, rows | {"restored": restored}


def new_loop(
    trained: TrainedAutoencoder,
    source: Source,
    held_out: HeldOut,
    settings: AeSettings,
    session: Session,
    context: RunContext,
) -> TrainingLoop:
    """The loop that trains the module of `trained`, which is on its device; `settings` are complete."""
    assert settings.lr is not None and settings.batch_size is not None and settings.epochs is not None
    plan = Plan(
        module=trained.module,
        parameters=list(trained.module.parameters()),
        optimizer=_create_optimizer(trained.module, settings, context.device),
        schedule=one_cycle,
        order=lambda epoch: epoch_order(len(source), settings.seed, epoch),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seeds=(settings.seed, "step"),
        blame=f"--lr {settings.lr} --clip {settings.clip}",
        advice="try a smaller --patch-size, --size or network",
        ema=0.5 ** (settings.batch_size / settings.ema) if settings.ema else 0.0,
        clip=settings.clip or 0.0,
    )
    trainer = AutoencoderTrainer(trained, source, held_out, settings, context)
    return TrainingLoop(plan, trainer, session)


def _create_optimizer(model: nn.Module, settings: AeSettings, device: torch.device) -> torch.optim.Optimizer:
    assert settings.lr is not None
    if settings.optimizer is Optimizer.MUON:
        return Muon(model, settings.lr)
    return torch.optim.Adam(model.parameters(), lr=settings.lr, fused=device.type in ("cpu", "cuda"))

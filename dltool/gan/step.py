"""One step of training: the discriminator learns from a batch, the generator from the discriminator."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dltool.gan.losses import discriminator_loss, generator_loss, gradient_penalty
from dltool.gan.settings import BETAS, GanSettings, Loss
from dltool.training import distributed

# The penalties' gradient costs as much as the rest of a step, and changes slowly: StyleGAN2's "lazy regularisation".
PENALTY_EVERY = 4


def to_unit(images: Tensor) -> Tensor:
    """uint8 pictures as float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


class GanStep:
    """Both networks with their optimizers; called with a batch it moves both by one step.

    The generated pictures of a step serve both networks, and go through the discriminator beside the real ones.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        settings: GanSettings,
        device: torch.device,
        bf16: bool = False,
        augment: Callable[[Tensor], Tensor] = lambda images: images,
    ) -> None:
        """Train these modules in place; `settings` must be complete."""
        self.generator = generator
        self.discriminator = discriminator
        self._settings = settings
        self._device = device
        self._bf16 = bf16
        self._augment = augment
        self._parallel_generator = _parallel(generator)
        self._parallel_discriminator = _parallel(discriminator)
        rate = {"lr": settings.lr, "betas": BETAS[settings.arch], "fused": device.type in ("cpu", "cuda")}
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), **rate)
        self.discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), **rate)

    def __call__(self, images: Tensor, noise: Tensor, labels: Tensor | None = None, penalty: bool = False) -> Tensor:
        """Move both networks by one batch.

        Args:
            images: N × channels × size × size uint8 on the device.
            noise: N × latent_dim.
            labels: N classes, for both the real and the generated pictures; None for networks without classes.
            penalty: whether the penalties are due in this step.

        Returns:
            Sums over the batch, on the device: discriminator loss, generator loss, real pictures and generated ones
            that the discriminator told right, samples.
        """
        real = to_unit(images)
        self.generator.train()
        with self._autocast():
            fake = self._parallel_generator(noise, labels)
        fake = fake.float()
        logits = self._train_discriminator(real, fake.detach(), labels, penalty)
        loss = self._train_generator(real, fake, labels)
        with torch.no_grad():
            told = _count_told(*logits, self._settings.loss)
            parts = [discriminator_loss(self._settings.loss, *logits).sum(), loss.detach().sum(), *told]
            return torch.stack([*parts, torch.tensor(float(len(images)), device=self._device)])

    def _train_discriminator(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, penalty: bool
    ) -> tuple[Tensor, Tensor]:
        both = torch.cat([real, fake])
        penalty = penalty and bool(self._settings.gamma)
        both.requires_grad_(penalty)
        with self._autocast():
            logits = self._parallel_discriminator(self._augment(both), None if labels is None else labels.repeat(2))
        logits = logits.float()
        loss = discriminator_loss(self._settings.loss, *logits.chunk(2)).mean()
        if penalty:
            # The mean over both halves times two is R1 plus R2.
            loss = loss + self._settings.gamma * PENALTY_EVERY * gradient_penalty(logits, both).mean()
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        return logits.detach().chunk(2)

    def _train_generator(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        relativistic = self._settings.loss is Loss.RELATIVISTIC
        self.discriminator.requires_grad_(False)
        with self._autocast():
            logits = self.discriminator(self._augment(fake), labels).float()
            with torch.no_grad():
                rival = self.discriminator(self._augment(real), labels).float() if relativistic else logits
        losses = generator_loss(self._settings.loss, rival, logits)
        self.generator_optimizer.zero_grad()
        losses.mean().backward()
        self.discriminator.requires_grad_(True)
        self.generator_optimizer.step()
        return losses

    def set_rate(self, factor: float) -> None:
        """Take `factor` times the settings' learning rate from the next step on."""
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = self._settings.lr * factor

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned in an earlier process."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext()


def _parallel(module: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(module) if distributed.world_size() > 1 else module


def _count_told(real: Tensor, fake: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Real and generated pictures on their side of the logits' border.

    It lies at 0, but for pairs, which fix only differences: there midway between the means of the two halves.
    """
    border = (real.mean() + fake.mean()) / 2 if loss is Loss.RELATIVISTIC else 0.0
    return (real > border).float().sum(), (fake < border).float().sum()

"""One step of training: the discriminator learns from a batch, the generator from the discriminator."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dltool.device import autocast
from dltool.gan.losses import discriminator_loss, generator_loss, gradient_penalty
from dltool.gan.settings import BETAS, GanSettings, Loss
from dltool.training import distributed
from dltool.training.memory import halve_until_it_fits

# The penalties' gradient costs as much as the rest of a step, and changes slowly: StyleGAN2's "lazy regularisation".
PENALTY_EVERY = 4
_ADVICE = "try a smaller --size or --width"


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


class GanStep:
    """Both networks with their optimizers; called with a batch it moves both by one step.

    The generated images of a step serve both networks, and go through the discriminator beside the real ones. Where
    memory is short, the batch goes through in `parts`.
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
        self.parts = 1
        self._settings = settings
        self._device = device
        self._bf16 = bf16
        self._augment = augment
        rate = {"lr": settings.lr, "betas": BETAS[settings.arch], "fused": device.type in ("cpu", "cuda")}
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), **rate)
        self.discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), **rate)

    def __call__(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor | None = None,
        penalty: bool = False,
        count: int | None = None,
    ) -> Tensor:
        """Move both networks by one batch.

        Args:
            images: N × channels × height × width uint8 on the device.
            noise: N × latent_dim.
            labels: N classes, for both the real and the generated images; None for networks without classes.
            penalty: whether the penalties are due in this step.
            count: samples of the batch in all processes, each of which has a share of it; None for N.

        Returns:
            Sums over the batch of all processes, on the device: discriminator loss, generator loss, real images and
            generated ones that the discriminator told right, samples.
        """
        count = count or len(images)
        weight, most = 1 / count, -(-count // distributed.world_size())
        real = to_unit(images)
        self.generator.train()

        def discriminate(parts: int) -> Tensor:
            self.discriminator_optimizer.zero_grad()
            shared = parts == 1
            return sum(
                self._discriminator_gradient(*chunk, shared, penalty, weight)
                for chunk in _chunks(parts, real, noise, labels)
            )

        def generate(parts: int) -> Tensor:
            self.generator_optimizer.zero_grad()
            shared = self._fake if parts == 1 else None
            return sum(
                self._generator_gradient(*chunk, shared, weight) for chunk in _chunks(parts, real, noise, labels)
            )

        self._fake: Tensor | None = None
        told, self.parts = halve_until_it_fits(discriminate, self.parts, most, _ADVICE)
        distributed.sum_gradients(self.discriminator.parameters())
        self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        try:
            loss, self.parts = halve_until_it_fits(generate, self.parts, most, _ADVICE)
        finally:
            self.discriminator.requires_grad_(True)
        own = torch.full((1,), float(len(images)), device=self._device)
        sums = torch.cat([told[:1], loss.view(1), told[1:], own])
        distributed.sum_gradients(self.generator.parameters(), sums)
        self.generator_optimizer.step()
        distributed.share_tensors([*self.generator.buffers(), *self.discriminator.buffers()])
        self._fake = None
        return sums

    def _discriminator_gradient(
        self,
        real: Tensor,
        noise: Tensor,
        labels: Tensor | None,
        shared: bool,
        penalty: bool,
        weight: float,
    ) -> Tensor:
        """Add to the discriminator's gradient; return its loss and what it told right, as sums."""
        settings = self._settings
        with torch.set_grad_enabled(shared), autocast(self._device, self._bf16):
            fake = self.generator(noise, labels).float()
        self._fake = fake if shared else None
        both = torch.cat([real, fake.detach()])
        penalty = penalty and bool(settings.gamma)
        both.requires_grad_(penalty)
        with autocast(self._device, self._bf16):
            logits = self.discriminator(self._augment(both), None if labels is None else labels.repeat(2))
        logits = logits.float()
        losses = discriminator_loss(settings.loss, *logits.chunk(2))
        loss = losses.sum()
        if penalty:
            loss = loss + settings.gamma / 2 * PENALTY_EVERY * gradient_penalty(logits, both).sum()
        (loss * weight).backward()
        with torch.no_grad():
            return torch.stack([losses.sum(), *_count_told(*logits.chunk(2), settings.loss)])

    def _generator_gradient(
        self, real: Tensor, noise: Tensor, labels: Tensor | None, fake: Tensor | None, weight: float
    ) -> Tensor:
        """Add to the generator's gradient; return its loss as a sum over the batch."""
        kind = self._settings.loss
        with autocast(self._device, self._bf16):
            if fake is None:
                fake = self.generator(noise, labels).float()
            logits = self.discriminator(self._augment(fake), labels).float()
            with torch.no_grad():
                pairs = kind is Loss.RELATIVISTIC
                rival = self.discriminator(self._augment(real), labels).float() if pairs else logits
        loss = generator_loss(kind, rival, logits).sum()
        (loss * weight).backward()
        return loss.detach()

    def share(self) -> None:
        """Give every process the first one's networks."""
        for network in (self.generator, self.discriminator):
            distributed.share_tensors(network.state_dict().values())

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
            "parts": self.parts,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned in an earlier process."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.parts = state["parts"]


def _chunks(parts: int, images: Tensor, *others: Tensor | None) -> list[tuple[Tensor | None, ...]]:
    """The batch in nearly equal parts, at most as many as it has samples."""
    parts = min(parts, len(images))
    split = [[None] * parts if tensor is None else tensor.tensor_split(parts) for tensor in (images, *others)]
    return list(zip(*split, strict=True))


def _count_told(real: Tensor, fake: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Real and generated images on their side of the logits' border.

    It lies at 0, but for pairs, which fix only differences: there each is held against the others' mean.
    """
    if loss is Loss.RELATIVISTIC:
        return (real > fake.mean()).float().sum(), (fake < real.mean()).float().sum()
    return (real > 0).float().sum(), (fake < 0).float().sum()

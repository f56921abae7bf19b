"""What a trained autoencoder is worth, in words: whether it beats the plainest guess, and which units are silent."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.networks import Autoencoder

# Images that are flatter than this are their mean colour: nothing can beat that.
_FLAT = 1e-3
_SILENT = 1e-6


@dataclass(frozen=True)
class Health:
    """What was found on held-out images.

    Attributes:
        mean_color_mse: squared error of giving each image's own mean colour back, values in [0, 1].
        units, dead_units: channels behind a ReLU or SiLU, and those that give the same to every held-out image.
        verdict: None, or that the network is no better than the mean colour, and what to do.
    """

    mean_color_mse: float
    units: int
    dead_units: int
    verdict: str | None

    @property
    def notes(self) -> list[str]:
        """Lines that people should read."""
        if not self.dead_units:
            return []
        return [f"{self.dead_units} of {self.units} units are dead: they give the same to every held-out picture"]


def look_at(module: nn.Module, held_out: HeldOut, mse: float, device: torch.device) -> Health | None:
    """Judge a network with a code, in evaluation mode, by its error on `held_out`; None for one without a code."""
    if not isinstance(module, Autoencoder):
        return None
    errors = [(batch / 255).var((2, 3), correction=0).mean() * len(batch) for batch in held_out.batches()]
    flat = float(sum(errors)) / len(held_out)
    dead, units = count_dead_units(module, held_out.batches()[0].to(device).float() / 255)
    verdict = None
    if mse >= flat >= _FLAT:
        verdict = (
            f"what comes back is no better than each picture's mean colour (mse {mse:.4f}, the colour's {flat:.4f}): "
            "train longer (--steps), or try another --lr or a wider --latent-dim"
        )
    return Health(flat, units, dead, verdict)


@torch.no_grad()
def count_dead_units(module: nn.Module, images: Tensor) -> tuple[int, int]:
    """Channels behind a ReLU or SiLU whose output is the same everywhere for all of N × C × H × W images; and all."""
    spreads: list[Tensor] = []

    def see(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        channels = output.float().transpose(0, 1).flatten(1)
        spreads.append(channels.amax(1) - channels.amin(1))

    seen = (nn.ReLU, nn.SiLU)
    hooks = [layer.register_forward_hook(see) for layer in module.modules() if isinstance(layer, seen)]
    try:
        module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(int((spread <= _SILENT).sum()) for spread in spreads), sum(len(spread) for spread in spreads)

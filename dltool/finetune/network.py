"""A classifier as body and head: any backbone without its last layer, and a new head on its features."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dltool.backbones.pooled import MultiScale, remove_classifier
from dltool.backbones.registry import create_backbone
from dltool.device import is_out_of_memory
from dltool.errors import ModelError, SettingsError
from dltool.finetune.settings import SMALL_NETWORKS, Head
from dltool.finetune.small import small_body
from dltool.finetune.unknown import Familiar
from dltool.training.seeds import seeded


@dataclass(frozen=True)
class Block:
    """Consecutive modules of a body that are frozen or trained together, called after the first."""

    name: str
    modules: tuple[nn.Module, ...]

    def parameters(self) -> list[nn.Parameter]:
        """All parameters, frozen ones included."""
        return [parameter for module in self.modules for parameter in module.parameters()]


class Standardize(nn.Module):
    """(features - mean) / scale with fixed numbers, measured once on the training features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @torch.no_grad()
    def measure(self, features: Tensor) -> None:
        """Take the statistics of N × D features; a dimension that hardly varies is not blown up."""
        features = features.cpu().double()
        deviation = features.std(0, correction=0)
        self.mean.copy_(features.mean(0))
        self.scale.copy_((deviation + 0.02 * deviation.mean()).clamp_min(1e-8))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale


class Classifier(nn.Module):
    """Body and head. What `freeze` froze stays frozen under `train()`: its batch norms keep their statistics.

    `familiar` knows what features of training images are like, once they have been learnt from.
    """

    def __init__(self, body: nn.Module, head: nn.Module, familiar: Familiar | None = None) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.familiar = familiar
        self._still: list[nn.Module] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return N × classes logits of N × C × H × W normalised images."""
        return self.head(self.body(images))

    def freeze(self, frozen: Iterable[nn.Module], norms: bool) -> None:
        """Freeze these modules of the body and train the rest; with `norms` all its batch norms keep their statistics.

        Fine-tuning on little data gains nothing from statistics of small batches, and loses what was learnt.
        """
        self.requires_grad_(True)
        self._still = list(frozen)
        for module in self._still:
            module.requires_grad_(False)
        if norms:
            self._still += [m for m in self.body.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.train(self.training)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for module in self._still:
            module.eval()
        return self


def new_head(kind: Head | str, dim: int, num_classes: int, hidden: int, dropout: float) -> nn.Sequential:
    """A head on standardised D-dimensional features; a linear one starts at zero, so that all classes are equal."""
    if kind == Head.MLP:
        layers = [nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)]
        return nn.Sequential(Standardize(dim), *layers, nn.Linear(hidden, num_classes))
    linear = nn.Linear(dim, num_classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(Standardize(dim), nn.Dropout(dropout), linear)


def build_classifier(arguments: dict[str, Any]) -> Classifier:
    """Build the module that a model file's `arguments` describe; its tensors are random.

    Raises:
        ModelError: the description is of something that this version cannot build.
    """
    try:
        with seeded(arguments.get("seed", 0), "network"):
            body, dim = _build_body(arguments)
            centers = arguments.get("familiar")
            familiar = Familiar(dim, arguments["num_classes"], centers) if centers else None
            if arguments["backbone"] in SMALL_NETWORKS:
                return Classifier(body, nn.Linear(dim, arguments["num_classes"]), familiar)
            head = new_head(arguments["head"], dim, arguments["num_classes"], arguments["hidden"], arguments["dropout"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SettingsError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"the model's description cannot be built ({error})") from error
    return Classifier(body, head, familiar)


def _build_body(arguments: dict[str, Any]) -> tuple[nn.Module, int]:
    name = arguments["backbone"]
    if name in SMALL_NETWORKS:
        return small_body(name, arguments["in_channels"], arguments["image_size"])
    backbone = create_backbone(name, "none", arguments.get("seed", 0))
    body, dim, _ = remove_classifier(backbone)
    return (MultiScale(body, arguments["small"]), 2 * dim) if arguments.get("small") else (body, dim)


def find_blocks(body: nn.Module) -> list[Block]:
    """Divide a body into named blocks, from the input to the features.

    A module that holds over 80 % of the parameters, or is a plain list of layers, is divided into its children; a
    norm, activation or pooling layer belongs to the block before it.
    """
    network = body.network if isinstance(body, MultiScale) else body
    total = sum(p.numel() for p in network.parameters())
    blocks: list[Block] = []
    for name, module in _divide("", network, total):
        plain = isinstance(module, nn.Dropout) or "Norm" in type(module).__name__
        if not any(True for _ in module.parameters()) or plain:
            if blocks:
                blocks[-1] = Block(blocks[-1].name, (*blocks[-1].modules, module))
            continue
        blocks.append(Block(name, (module,)))
    return blocks


def _divide(prefix: str, module: nn.Module, total: int) -> Iterable[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        size = sum(p.numel() for p in child.parameters())
        full = f"{prefix}{name}"
        plain_list = not prefix and type(child) in (nn.Sequential, nn.ModuleList) and name in ("features", "blocks")
        divisible = any(True for _ in child.children())
        if divisible and (size > 0.8 * total or plain_list):
            yield from _divide(full + ".", child, total)
        else:
            yield full, child


def loose_parameters(body: nn.Module, blocks: list[Block]) -> list[nn.Parameter]:
    """Parameters of the body that stand in no block, such as a vision transformer's class token."""
    known = {id(p) for block in blocks for p in block.parameters()}
    return [p for p in body.parameters() if id(p) not in known]

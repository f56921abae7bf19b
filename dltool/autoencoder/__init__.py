"""Autoencoders and denoising.

The Python API: `train_autoencoder` trains (a generator of small dataclasses), `load_autoencoder` and
`reconstruct_files` use the result, `create_autoencoder` builds an untrained network.
"""

from dltool.autoencoder.settings import AeSettings
from dltool.lazy import lazy_names

__all__ = ["AeSettings", "create_autoencoder", "load_autoencoder", "reconstruct_files", "train_autoencoder"]

_HOMES = {
    "create_autoencoder": "dltool.autoencoder.networks",
    "load_autoencoder": "dltool.autoencoder.autoencoder_file",
    "reconstruct_files": "dltool.autoencoder.reconstruct",
    "train_autoencoder": "dltool.autoencoder.train",
}

__getattr__ = lazy_names(__name__, _HOMES)

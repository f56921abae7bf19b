"""Autoencoders and denoising.

The Python API: `create_autoencoder` builds a network.
"""

from dltool.lazy import lazy_names

__all__ = ["create_autoencoder"]

_HOMES = {
    "create_autoencoder": "dltool.autoencoder.networks",
}

__getattr__ = lazy_names(__name__, _HOMES)

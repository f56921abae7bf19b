"""Autoencoders and denoising.

The Python API: `train_autoencoder` trains (a generator of small dataclasses), `load_autoencoder` and
`reconstruct_files` use the result, `create_autoencoder` builds an untrained network. `denoise` takes the noise out of
one image, `denoise_files` out of many (generators too), with the `Denoiser` that `load_denoiser` reads.
"""

from dltool.autoencoder.denoise_settings import DenoiseSettings
from dltool.autoencoder.settings import AeSettings
from dltool.lazy import lazy_names

__all__ = [
    "AeSettings",
    "DenoiseSettings",
    "create_autoencoder",
    "denoise",
    "denoise_files",
    "load_autoencoder",
    "load_denoiser",
    "reconstruct_files",
    "train_autoencoder",
]

_HOMES = {
    "create_autoencoder": "dltool.autoencoder.networks",
    "denoise": "dltool.autoencoder.denoise",
    "denoise_files": "dltool.autoencoder.denoise_files",
    "load_denoiser": "dltool.autoencoder.denoiser",
    "load_autoencoder": "dltool.autoencoder.autoencoder_file",
    "reconstruct_files": "dltool.autoencoder.reconstruct",
    "train_autoencoder": "dltool.autoencoder.train",
}

__getattr__ = lazy_names(__name__, _HOMES)

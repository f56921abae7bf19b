"""`dltool ae train` and `ae reconstruct`: autoencoders and denoisers, trained and used.

The Python API: `train_autoencoder` trains (a generator of small dataclasses), `load_autoencoder` and
`reconstruct_files` use the result, `create_autoencoder` builds an untrained network. Denoising is a room of its own,
`dltool.denoise`; its names are found here too, where they were first.
"""

from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.lazy import lazy_names

__all__ = [
    "AeSettings",
    "DenoiseSettings",
    "ImageData",
    "create_autoencoder",
    "denoise",
    "denoise_files",
    "load_autoencoder",
    "load_denoiser",
    "reconstruct_files",
    "train_autoencoder",
]

_HOMES = {
    "DenoiseSettings": "dltool.denoise.settings",
    "create_autoencoder": "dltool.autoencoder.networks",
    "denoise": "dltool.denoise.single_image",
    "denoise_files": "dltool.denoise.files",
    "load_autoencoder": "dltool.autoencoder.autoencoder_file",
    "load_denoiser": "dltool.denoise.denoiser",
    "reconstruct_files": "dltool.autoencoder.reconstruct",
    "train_autoencoder": "dltool.autoencoder.train",
}

__getattr__ = lazy_names(__name__, _HOMES)

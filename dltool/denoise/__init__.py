"""`dltool ae denoise`: the noise taken out of images, by a trained denoiser or by what one image says of itself.

The Python API: `denoise` takes the noise out of one image, `denoise_files` out of many (generators of small
dataclasses), with the `Denoiser` that `load_denoiser` reads and what `DenoiseSettings` says.
"""

from dltool.denoise.settings import DenoiseSettings
from dltool.lazy import lazy_names

__all__ = ["SHIPPED_DENOISER", "DenoiseSettings", "Denoiser", "denoise", "denoise_files", "load_denoiser"]

_HOMES = {
    "SHIPPED_DENOISER": "dltool.denoise.denoiser",
    "Denoiser": "dltool.denoise.denoiser",
    "denoise": "dltool.denoise.single_image",
    "denoise_files": "dltool.denoise.files",
    "load_denoiser": "dltool.denoise.denoiser",
}

__getattr__ = lazy_names(__name__, _HOMES)

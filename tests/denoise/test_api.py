"""The functions of the room are found by their names, in either room, whatever was imported before."""

import dltool.autoencoder
import dltool.denoise
import dltool.denoise.files
import dltool.denoise.single_image


def test_the_names_are_functions_and_no_modules():
    for room in (dltool.denoise, dltool.autoencoder):
        assert room.denoise is dltool.denoise.single_image.denoise
        assert room.denoise_files is dltool.denoise.files.denoise_files
        assert room.DenoiseSettings is dltool.denoise.settings.DenoiseSettings
        assert room.load_denoiser is dltool.denoise.denoiser.load_denoiser

"""Autoencoders and denoising: the room of `dltool ae`, which is not built yet."""

"""Generative adversarial networks: the room of `dltool gan`, which is not built yet."""

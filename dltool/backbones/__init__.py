"""Pretrained networks: their names, weights and preprocessing, and taps on their layers."""

DEFAULT_BACKBONE = "efficientnet_lite0"

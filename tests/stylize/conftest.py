"""What several tests of stylize look with."""

from collections.abc import Iterator

import pytest
import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.stylize.features import FeatureNetwork


@pytest.fixture(scope="module")
def network() -> Iterator[FeatureNetwork]:
    """The default's."""
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), torch.device("cpu")) as network:
        yield network

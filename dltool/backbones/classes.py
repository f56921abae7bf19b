"""Names of the classes that ImageNet networks answer with."""

from functools import cache


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 ImageNet class names in index order, as torchvision's weights carry them (`tabby`, `daisy`, …)."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])

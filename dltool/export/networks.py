"""What each kind of model is as an ONNX file: its inputs, its outputs, what is computed inside."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder, load_autoencoder
from dltool.denoise.denoiser import SHIPPED_DENOISER
from dltool.export.graph import Exportable
from dltool.export.settings import DENOISER
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
from dltool.gan.generator_file import TrainedGenerator, load_generator
from dltool.images.tensors import LUMA
from dltool.instant.settings import find_style
from dltool.instant.style_file import TrainedStyle, load_style
from dltool.instant.whole import WholeStyle
from dltool.training.model_file import load_model, model_path
from dltool.training.seeds import new_generator

Model = TrainedClassifier | TrainedAutoencoder | TrainedGenerator | TrainedStyle
# Sides of the images that a network of any size is compared on; its strides divide neither.
_UNEVEN = (43, 51)
_BATCH = {0: "batch"}


def load_any(path: Path) -> Model:
    """Read a model of any command that trains networks; `denoiser` is the one that comes with dltool.

    Raises:
        ModelError: no model, or damaged.
    """
    if str(path) == DENOISER and not path.exists():
        path = SHIPPED_DENOISER
    path = model_path(find_style(path))
    match load_model(path).command:
        case "style":
            return load_style(path)
        case "ae":
            return load_autoencoder(path)
        case "gan":
            return load_generator(path)
        case _:
            return load_classifier(path)[0]


def exportable(model: Model) -> Exportable:
    """What is exported of a model."""
    match model:
        case TrainedClassifier():
            return _classifier(model)
        case TrainedAutoencoder():
            return _denoiser(model) if model.size is None else _autoencoder(model)
        case TrainedStyle():
            return _style(model)
        case _:
            return _generator(model)


class _FromPixels(nn.Module):
    """A classifier on N × crop × crop × 3 uint8 pixels."""

    def __init__(self, classifier: TrainedClassifier) -> None:
        super().__init__()
        self.classifier = classifier.module
        self.grey = classifier.in_channels == 1
        channels = classifier.in_channels
        self.register_buffer("mean", torch.tensor(classifier.preprocessing.mean[:channels]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(classifier.preprocessing.std[:channels]).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float()
        if self.grey:  # ITU-R 601-2 luma, as Pillow converts
            images = (images * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True).round()
        return self.classifier((images / 255 - self.mean) / self.std)


class _WithCodes(nn.Module):
    """An autoencoder's images and their codes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.network.encode(images)
        return self.network.decode(codes), codes


class _Drawing(nn.Module):
    """A generator whose images are in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        return (self.network(noise, classes) + 1) / 2


def _classifier(model: TrainedClassifier) -> Exportable:
    side, count = model.preprocessing.crop, len(model.class_names)

    def example(batch: int) -> dict[str, Tensor]:
        size = (batch, side, side, 3)
        return {"pixels": torch.randint(0, 256, size, dtype=torch.uint8, generator=new_generator("export"))}

    return Exportable(
        module=_FromPixels(model).eval(),
        example=example,
        dynamic={"pixels": _BATCH, "logits": _BATCH},
        outputs=("logits",),
        shapes={"pixels": _shape("uint8", side, side, 3), "logits": _shape("float32", count)},
        texts={"class_names": model.class_names, "preprocessing": asdict(model.preprocessing)},
    )


def _denoiser(model: TrainedAutoencoder) -> Exportable:
    axes = {**_BATCH, 2: "height", 3: "width"}
    shape = _shape("float32", model.channels, "H", "W")
    return Exportable(
        module=model.module,
        example=lambda batch: {"images": _random_images(batch, model.channels, *_UNEVEN)},
        dynamic={"images": axes, "restored": axes},
        outputs=("restored",),
        shapes={"images": shape, "restored": shape},
        texts={"architecture": model.arch, "range": [0, 1]},
    )


def _style(model: TrainedStyle) -> Exportable:
    axes = {**_BATCH, 2: "height", 3: "width"}
    shape = _shape("float32", 3, "H", "W")
    return Exportable(
        module=WholeStyle(model).eval(),
        example=lambda batch: {"images": _random_images(batch, 3, *_UNEVEN)},
        dynamic={"images": axes, "painted": axes},
        outputs=("painted",),
        shapes={"images": shape, "painted": shape},
        texts={"architecture": "style", "paintings": [painting.name for painting in model.paintings], "range": [0, 1]},
    )


def _autoencoder(model: TrainedAutoencoder) -> Exportable:
    assert model.size is not None
    shape = _shape("float32", model.channels, *model.size)
    return Exportable(
        module=_WithCodes(model.module),
        example=lambda batch: {"images": _random_images(batch, model.channels, *model.size)},
        dynamic=dict.fromkeys(("images", "reconstructions", "codes"), _BATCH),
        outputs=("reconstructions", "codes"),
        shapes={"images": shape, "reconstructions": shape, "codes": _shape("float32", model.module.latent_dim)},
        texts={"architecture": model.arch, "range": [0, 1]},
    )


def _generator(model: TrainedGenerator) -> Exportable:
    spec = model.spec

    def example(batch: int) -> dict[str, Tensor]:
        found = {"noise": torch.randn(batch, spec.latent_dim, generator=new_generator("export"))}
        return found | ({"classes": torch.arange(batch) % spec.num_classes} if spec.num_classes else {})

    shapes = {"noise": _shape("float32", spec.latent_dim)}
    if spec.num_classes:
        shapes["classes"] = _shape("int64")
    shapes["images"] = _shape("float32", spec.channels, *spec.shape)
    return Exportable(
        module=_Drawing(model.module),
        example=example,
        dynamic=dict.fromkeys(shapes, _BATCH),
        outputs=("images",),
        shapes=shapes,
        texts={"class_names": model.class_names, "architecture": spec.arch.value, "range": [0, 1]},
    )


def _random_images(batch: int, *shape: int) -> Tensor:
    return torch.rand(batch, *shape, generator=new_generator("export"))


def _shape(kind: str, *sizes: Any) -> dict[str, Any]:
    return {"shape": ["N", *sizes], "type": kind}

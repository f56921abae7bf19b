"""Every network that dltool can build by name: torchvision's classifiers, timm's models, the bundled default."""

import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.lite import LITES, packaged_weights
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.weights import Match, load_matching, read_tensors
from dltool.device import is_out_of_memory
from dltool.errors import ModelError, SettingsError, did_you_mean

TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class Backbone:
    """A network in eval mode with what belongs to its weights.

    Attributes:
        name: as given to `--backbone`.
        weights: `default`, `none` or the file's path.
        missing: tensors that a weights file did not hold; they are still random.
        unexpected: tensors of the file that the network has no place for.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    weights: str
    missing: tuple[str, ...] = field(default=(), repr=False)
    unexpected: tuple[str, ...] = field(default=(), repr=False)

    @property
    def leftovers(self) -> str:
        """A line about tensors of the weights file that the network has no place for; empty where there are none."""
        if not self.unexpected:
            return ""
        return (
            f"{self.weights}: {len(self.unexpected)} tensors, {self.unexpected[0]} among them, "
            f"have no place in {self.name}"
        )


def list_backbones() -> list[str]:
    """EfficientNet-Lite, the default first, and torchvision's classifiers; timm's come on top as `timm:NAME`."""
    from torchvision import models

    return [*LITES, *models.list_models(module=models)]


def check_name(name: str, option: str = "--backbone") -> None:
    """Raise SettingsError, with near names, unless there is a network of this name."""
    if name.startswith(TIMM_PREFIX):
        import timm

        known = [TIMM_PREFIX + own for own in timm.list_models()]
        if name.partition(".")[0] not in known:
            raise SettingsError(f"{option} {name}: no such network{did_you_mean(name, _with_weights())}")
    elif name not in list_backbones():
        raise SettingsError(f"{option} {name}: no such network{_suggest(name)}")


def create_backbone(name: str, weights: str = "default", seed: int = 0, option: str = "--backbone") -> Backbone:
    """Build a network on the CPU.

    Args:
        name: a name of `list_backbones()` or `timm:NAME`.
        weights: `default` (the library's own, downloaded once; the default backbone's are installed already),
            `none` (random, drawn from `seed`) or a .safetensors, .pth or .pt file. A file with a part of the tensors
            is accepted: what it lacks is listed in `missing`.
        seed: of random weights.
        option: what the network is chosen by, for messages.

    Raises:
        SettingsError: no such network; the message suggests near names.
        ModelError: the weights cannot be fetched, read or matched.
    """
    check_name(name, option)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in LITES:
            module, preprocessing = _build_timm(LITES[name].timm_name, False, option)
        elif name.startswith(TIMM_PREFIX):
            module, preprocessing = _build_timm(name.removeprefix(TIMM_PREFIX), weights == "default", option)
        else:
            module, preprocessing = _build_torchvision(name, weights, option)
    match = Match((), ())
    if weights not in ("default", "none"):
        match = load_matching(module, read_tensors(weights), weights)
    elif weights == "default" and name in LITES:
        module.load_state_dict(packaged_weights(name, module))
    return Backbone(name, module.eval(), preprocessing, weights, match.missing, match.unexpected)


def _build_torchvision(name: str, weights: str, option: str) -> tuple[nn.Module, Preprocessing]:
    from torchvision import models

    own = models.get_model_weights(name).DEFAULT
    options: dict[str, bool] = {}
    if name in ("googlenet", "inception_v3"):
        # Their ImageNet weights expect this switch; without `init_weights` both warn and draw very slowly.
        options = {"transform_input": True, "init_weights": weights == "none"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if weights == "default":
                module = models.get_model(name, weights=own)
            else:
                module = models.get_model(name, weights=None, **options)
    except (OSError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(own.url).name
        raise ModelError(
            f"--weights default: {name}'s weights cannot be fetched ({_reason(error)}); put {own.url} at {file}, "
            f"or give --weights FILE, or use {option} {DEFAULT_BACKBONE}, which needs no download"
        ) from error
    preset = own.transforms()
    # Built without its weights, a transformer may be made for another size than they are (vit_h_14: 224, not 518).
    crop = getattr(module, "image_size", preset.crop_size[0])
    preprocessing = Preprocessing(
        resize=round(preset.resize_size[0] * crop / preset.crop_size[0]),
        crop=crop,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    return module, preprocessing


def _build_timm(name: str, pretrained: bool, option: str) -> tuple[nn.Module, Preprocessing]:
    import timm
    from timm.data import resolve_model_data_config

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are told once, by the error below
    try:
        module = timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # the hub's client raises its own, requests' and httpx's types
        if not pretrained or "tag" in str(error):
            raise SettingsError(f"{option} {TIMM_PREFIX}{name}: timm cannot build it ({_reason(error)})") from error
        raise ModelError(
            f"--weights default: the weights of {TIMM_PREFIX}{name} cannot be fetched ({_reason(error)}); "
            f"give --weights FILE, or use {option} {DEFAULT_BACKBONE}, which needs no download"
        ) from error
    config = resolve_model_data_config(module)
    crop = config["input_size"][-1]
    preprocessing = Preprocessing(
        resize=int(crop / config["crop_pct"]),
        crop=crop,
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bilinear",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return module, preprocessing


def _suggest(name: str) -> str:
    if TIMM_PREFIX + name in _with_weights():
        return f"; did you mean '{TIMM_PREFIX}{name}'?"
    return did_you_mean(name, list_backbones())


def _with_weights() -> list[str]:
    """timm's models that have weights."""
    import timm

    return [TIMM_PREFIX + own for own in dict.fromkeys(n.partition(".")[0] for n in timm.list_models(pretrained=True))]


def _reason(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "reason", error)).split())
    return text if len(text) <= 100 else text[:99] + "…"

"""What a training run comes to, once the images are known: size and channels, passes, steps, width of the code."""

from dataclasses import dataclass, replace
from math import ceil

from dltool.autoencoder.batches import common_size
from dltool.autoencoder.data import SMALL_SIDE, Loaded
from dltool.autoencoder.settings import AeSettings, Arch, Augment, Color, complete
from dltool.data.sizes import UNASKED, width_height
from dltool.errors import SettingsError

# However few the images: what a network with a code needs. Photos come back as blurs after half of it.
_LEAST_STEPS = 800
# The code: ten numbers for a digit, more for what shows more.
_DIGIT_VALUES, _DIGIT_CODE = 32 * 32, 10
_VALUES_PER_NUMBER, _WIDEST_CODE = 48, 512
# The average of the weights forgets what lies this share of the training back.
_EMA_SHARE = 0.05


@dataclass(frozen=True)
class AePlan:
    """A run before it begins.

    Attributes:
        settings: with nothing left open.
        channels: 1 or 3.
        size: height and width of whole images.
        whole: whether whole images are learnt, not random crops.
        samples, steps: of one epoch, in which the images are gone through `settings.passes` times.
    """

    settings: AeSettings
    channels: int
    size: tuple[int, int]
    whole: bool
    samples: int
    steps: int

    @property
    def all_steps(self) -> int:
        """Steps of all epochs."""
        assert self.settings.epochs is not None
        return self.settings.epochs * self.steps


def learns_crops(settings: AeSettings, data: Loaded) -> bool:
    """Whether random crops are learnt, as a unet does but where all images are small and of one size."""
    common = common_size(list(data.splits.values()))
    return settings.arch is Arch.UNET and (common is None or max(common) > settings.patch_size)


def plan_training(settings: AeSettings, data: Loaded) -> AePlan:
    """Decide what was left open, by the images.

    A small set is gone through more than once in an epoch, so that the default epochs have at least `--steps` steps;
    epochs that were asked for are single passes.

    Raises:
        SettingsError: quarter turns of images that are not square.
    """
    epochs_open = settings.epochs is None
    settings = complete(settings)
    splits = list(data.splits.values())
    grey = all(all(split.grey) for split in splits)
    channels = 1 if settings.color is Color.GREY or (settings.color is Color.AUTO and grey) else 3
    whole = not learns_crops(settings, data)
    common = common_size(splits)
    small = common is not None and (settings.arch is Arch.UNET or max(common) <= SMALL_SIDE)
    size = width_height(settings.size)[::-1] if settings.size is not None else data.size or common or (UNASKED, UNASKED)
    if settings.augment is Augment.AUTO:
        augment = (Augment.NONE if small else Augment.CROP) if whole else Augment.DIHEDRAL
        settings = replace(settings, augment=augment)
    if settings.augment is Augment.DIHEDRAL and size[0] != size[1] and whole:
        raise SettingsError("--augment dihedral: quarter turns need square pictures; give --size, or flip")
    values = channels * size[0] * size[1]
    if settings.batch_size is None:
        settings = replace(settings, batch_size=64 if values <= _DIGIT_VALUES else 32)
    if settings.arch is not Arch.UNET and settings.latent_dim is None:
        width = _DIGIT_CODE if values <= _DIGIT_VALUES else min(values // _VALUES_PER_NUMBER, _WIDEST_CODE)
        settings = replace(settings, latent_dim=max(width, _DIGIT_CODE))
    images = len(data.splits["train"]) * (1 if whole else settings.crops_per_image)
    settings = _with_passes(settings, images, epochs_open)
    assert settings.epochs is not None and settings.batch_size is not None and settings.passes is not None
    samples = images * settings.passes
    if settings.ema is None:
        settings = replace(settings, ema=min(10000.0, _EMA_SHARE * samples * settings.epochs))
    return AePlan(settings, channels, size, whole, samples, ceil(samples / settings.batch_size))


def describe_steps(settings: AeSettings, samples: int, steps: int) -> str:
    """How long is trained, in words: steps, in epochs, in passes over the images; `samples`, `steps` of an epoch."""
    passes, epochs = settings.passes or 1, settings.epochs or 0
    many = f"{samples // passes} samples gone through {passes} times" if passes > 1 else f"{samples} samples"
    return f"{epochs * steps} steps in {epochs} epochs of {many}"


def _with_passes(settings: AeSettings, images: int, epochs_open: bool) -> AeSettings:
    """How often an epoch goes through the images, and with `--steps` how many epochs there are."""
    if settings.passes is not None:  # of a run that goes on
        return settings
    assert settings.epochs is not None and settings.batch_size is not None
    wanted = settings.steps
    if wanted is None and (not epochs_open or settings.arch is Arch.UNET):
        return replace(settings, passes=1)
    a_pass = images / settings.batch_size
    least = _LEAST_STEPS if wanted is None else wanted
    passes = max(1, ceil(least / (settings.epochs * a_pass)))
    epochs = settings.epochs if wanted is None else max(1, ceil(least / ceil(images * passes / settings.batch_size)))
    return replace(settings, passes=passes, epochs=epochs)

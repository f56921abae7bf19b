"""What a style network learns in a step, how it is measured, and the sheet of every epoch."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.autoencoder.batches import reflect_to
from dltool.autoencoder.data import Images, to_channels
from dltool.images.read import fit_longest
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import resize_pixels, to_pixels
from dltool.images.write import write_image
from dltool.instant.settings import InstantSettings
from dltool.instant.style_file import TrainedStyle
from dltool.stylize.colors import ColorStatistics, apply_colors, color_map, color_statistics
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.objective import Losses, Objective, Region
from dltool.stylize.settings import StylizeSettings
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd
from dltool.training.model_file import save_model
from dltool.training.seeds import numpy_generator
from dltool.training.trainer import Batch, Measured, Share, Trainer

# Pairs of crops in an epoch, after which the network is looked at.
EPOCH_PAIRS = 800
# Of a pair's second crop against the first, if it shows nearly the same; half of the pairs do, for steadiness, and the
# others show two places of a photo, from which more is learnt.
_LARGEST_SHIFT = 24
_NEAR = 0.5
# Where in the waves a pair begins: anywhere within so many pixels of the strokes.
_ORIGINS = 1000.0
_SHOWN = 3


class StyleTrainer(Trainer):
    """Learns to lower the loss of `dltool stylize` in one pass, and to paint alike what two crops have in common."""

    def __init__(
        self,
        trained: TrainedStyle,
        judge: FeatureNetwork,
        grams: Sequence[dict[str, Tensor]],
        photos: Mapping[str, Images],
        settings: InstantSettings,
        context: RunContext,
    ) -> None:
        """Train the network of `trained`, judged by `judge` against the Gram matrices of each painting."""
        self._trained = trained
        self._judge = judge
        self._grams = {name: torch.cat([each[name] for each in grams]) for name in grams[0]}
        self._photos = photos
        self._settings = settings
        self._loss = StylizeSettings(
            content_weight=settings.content_weight, chroma_weight=settings.chroma_weight, size=settings.size
        )
        self._device = context.device
        self._run = context.run if distributed.rank() == 0 else None
        self._colors = lru_cache(maxsize=None)(self._photo_colors)
        self._shown: list[tuple[Tensor, str, Losses]] = []

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        """Pairs of crops, N × 2 × 3 × crop × crop in [0, 1], the photos' colour maps, styles, shifts and origins."""
        for share in shares:
            rows = [self._pair(share.epoch, int(number)) for number in share.samples]
            yield tuple(torch.stack(column).to(self._device) for column in zip(*rows, strict=True))

    def _pair(self, epoch: int, number: int) -> tuple[Tensor, ...]:
        """Two crops of a photo, as a function of seed, epoch and the sample's number alone."""
        random = numpy_generator(self._settings.seed, "pair", epoch, number)
        train, side = self._photos["train"], self._settings.crop
        index = int(random.integers(len(train)))
        scale, painting = divmod(number, len(self._trained.paintings))
        style = self._trained.rows(painting)[scale % len(self._trained.scales)]
        pixels = reflect_to(to_channels(fit_photo(train.pixels(index), self._settings), 3), side + _LARGEST_SHIFT)
        if random.random() < 0.5:
            pixels = pixels.flip(2)
        room = np.array(pixels.shape[1:]) - side
        first, second = random.integers(room + 1, size=(2, 2))
        if random.random() < _NEAR:
            second = (first + random.integers(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, 2)).clip(0, room)
        crops = torch.stack([pixels[:, top : top + side, left : left + side] for top, left in (first, second)])
        matrix, offset = color_map(self._colors(index), self._trained.paintings[painting].colors)
        moving = torch.cat((matrix, offset[:, None]), 1).float()
        origin = torch.from_numpy(random.random(2) * _ORIGINS).float()
        return crops.float() / 255, moving, torch.tensor(style), torch.from_numpy(second - first), origin

    def _photo_colors(self, index: int) -> ColorStatistics:
        pixels = to_channels(fit_photo(self._photos["train"].pixels(index), self._settings), 3)
        return color_statistics(pixels[None, :, ::2, ::2].float() / 255)

    def loss(self, batch: Batch, share: Share) -> Tensor:
        pairs, moving, styles, shifts, origins = batch
        photos = pairs.flatten(0, 1).contiguous()
        styles = styles.repeat_interleave(2)
        colored = apply_colors(photos, moving.repeat_interleave(2, 0))
        share_of = torch.nn.functional.one_hot(styles, self._trained.network.styles).float()
        colored = colored.contiguous(memory_format=torch.channels_last)
        painted = self._trained.network(colored, share_of, origins.repeat_interleave(2, 0))
        regions = [Region({name: grams[styles] for name, grams in self._grams.items()})]
        objective = Objective(self._judge, photos, regions, self._loss)
        losses, gradient = objective.evaluate(painted.detach().contiguous())
        # The objective has computed its own gradient; this has its value and passes it on.
        passed_on = (painted * gradient).sum()
        total = passed_on - passed_on.detach() + sum(each.total for each in losses)
        if self._settings.steady_weight:
            both = zip(painted.unflatten(0, (-1, 2)), shifts, strict=True)
            near = [difference(*pair, shift) for pair, shift in both if shift.abs().max() <= _LARGEST_SHIFT]
            total = total + 2 / _NEAR * self._settings.steady_weight * sum(near)
        return total * share.weight / 2

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Measured:
        self._shown = self._examples(model)
        losses = [losses for _, _, losses in self._shown]
        content, style = (float(np.mean([getattr(each, name) for each in losses])) for name in ("content", "style"))
        loss = self._settings.content_weight * content + style
        return Measured({"loss": loss, "content_loss": content, "style_loss": style}, loss, (-loss,))

    def end_epoch(self, model: nn.Module, end: EpochEnd) -> None:
        if self._run is None:
            return
        tiles = [
            Tile(to_pixels(image), f"{name}: content {losses.content:.2f}, style {losses.style:.2f}")
            for image, name, losses in self._shown
        ]
        sheet = contact_sheet(tiles, len(self._trained.paintings), 256, f"epoch {end.epoch} of {end.epochs}")
        write_image(self._run.path / "samples" / f"epoch-{end.epoch:03d}.png", sheet)

    def _examples(self, model: nn.Module) -> list[tuple[Tensor, str, Losses]]:
        """Photos that are not learnt from, in every style."""
        held_out = self._photos["val"]
        found = []
        for index in range(min(_SHOWN, len(held_out))):
            photo = to_channels(fit_photo(held_out.pixels(index), self._settings), 3)[None].float() / 255
            # At half their size, which is quicker; the figures are for comparing epochs.
            height, width = (max(8, length // 16 * 8) for length in photo.shape[2:])
            photo = nn.functional.interpolate(photo, (height, width), mode="area").to(self._device)
            own = color_statistics(photo)
            for order, painting in enumerate(self._trained.paintings):
                number = self._trained.rows(order)[self._trained.scales.index(1)]
                share_of = nn.functional.one_hot(torch.tensor([number]), self._trained.network.styles).float()
                matrix, offset = color_map(own, painting.colors)
                colored = apply_colors(photo, torch.cat((matrix, offset[:, None]), 1).float()[None].to(self._device))
                with torch.no_grad():
                    painted = model(colored.contiguous(memory_format=torch.channels_last), share_of.to(self._device))
                region = Region({name: grams[number : number + 1] for name, grams in self._grams.items()})
                losses, _ = Objective(self._judge, photo, [region], self._loss).evaluate(painted.contiguous())
                found.append((painted.clamp(0, 1).cpu(), painting.name, losses[0]))
        return found

    def write_best(self, tensors: Mapping[str, Tensor], best: Mapping[str, Any]) -> None:
        if self._run is not None:
            save_model(self._run.model, self._trained.to_file({"best_so_far": dict(best)}, tensors))


def difference(one: Tensor, other: Tensor, shift: Tensor) -> Tensor:
    """Mean squared difference of two 3 × H × W images where they show the same: `other` began `shift` further."""
    down, right = (int(by) for by in shift)
    rows, columns = one.shape[1] - abs(down), one.shape[2] - abs(right)
    one = one[:, max(0, down) :, max(0, right) :][:, :rows, :columns]
    other = other[:, max(0, -down) :, max(0, -right) :][:, :rows, :columns]
    return (one - other).square().mean()


def fit_photo(pixels: np.ndarray, settings: InstantSettings) -> np.ndarray:
    """An image, H × W (× 3) uint8, with its longest side at the settings' size."""
    return resize_pixels(pixels, fit_longest(pixels.shape[1::-1], settings.size))

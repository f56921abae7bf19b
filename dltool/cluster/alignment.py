"""Laying one thumbnail over another: Gauss-Newton on an affine map, and how alike they are where they overlap."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dltool.cluster.likeness import SIDE, without_surroundings
from dltool.images.tensors import luma

# Coarse, then fine: pixels of a side, what is subtracted around each, iterations.
_COARSE, _FINE = (16, 7, 6), (32, 9, 6)
_AROUND, _AROUND_FINE = 9, 5
# What moves a map at first (size, and shift in x and y), and all that it can be moved by.
_SCALE_AND_SHIFT = ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
_SCALES, _SHIFTS = (0.87, 1.0, 1.15), (-0.12, 0.0, 0.12)
_DAMPING = 1e-3
# Of sides of 64: patches that are compared on their own, how far apart, how far they may have moved.
_PATCH, _PATCH_STEP, _REACH = 16, 8, 2
_PATCH_ALIKE, _FLAT, _FEWEST_PATCHES = 0.7, 2.0, 16
_TINTS = 8
# Of pairs that correlate less their patches are not compared.
WORTH_MEASURING = 0.5
# Another place of an image is at least so far away, and has so much of it, in shares.
_ELSEWHERE, _LEAST_IN_COMMON = 0.1, 0.5


@dataclass(frozen=True)
class Alignment:
    """How B pairs lie on each other; places are from -1 to 1, brightness and colours from 0 to 255.

    Attributes:
        matrix: B × 2 × 3, from places in the second image to places in the first.
        correlation: B, of brightness less its surroundings, where they overlap: 1 is equal.
        fine: B, the same at twice the resolution, less nearer surroundings.
        repeats: B, correlation of the more regular of the two with itself when it is moved elsewhere.
        shear: B, how far the map is from scaling and shifting alone: the tangent of an angle.
        overlap: B, share of the second image that the first one has too.
        area: B, how large the second image is in areas of the first.
        patches: B, share of small patches whose details resemble each other, be the rest what it may; flat ones do not
            count, and with a correlation below `WORTH_MEASURING` it is 0.
        lighter: B, how much brighter the second image is on the average.
        tint: B, median difference of colours less brightness.
    """

    matrix: Tensor
    correlation: Tensor
    fine: Tensor
    repeats: Tensor
    shear: Tensor
    overlap: Tensor
    area: Tensor
    patches: Tensor
    lighter: Tensor
    tint: Tensor

    @property
    def doubt(self) -> Tensor:
        """B, how far the two are from equal, in shares of what an image is from itself elsewhere.

        A part of a wall resembles any other part of it, so that there correlation alone says little: the match must be
        clearly better than the second best.
        """
        return (1 - self.correlation) / (1 - self.repeats).clamp_min(1e-6)


@torch.inference_mode()
def place(first: Tensor, second: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Find roughly how B × 3 × SIDE × SIDE images in [0, 255] lie on each other, scaled and shifted.

    Args:
        start: B × 3: scale, and shift in x and y, to begin from.

    Returns:
        B × 6 affine maps from places in the second to those in the first, and B correlations where they overlap.
    """
    side, around, iterations = _COARSE
    moves = torch.tensor(_SCALE_AND_SHIFT)
    fields = _fields(first, second, side, around)
    matrix = _improve(*fields, _best_start(*fields, start @ moves), moves, iterations)
    return matrix, 1 - _difference(*fields, matrix).square().sum(1) / 2


@torch.inference_mode()
def align(first: Tensor, second: Tensor, matrix: Tensor) -> Alignment:
    """Find the affine map under which B × 3 × SIDE × SIDE images in [0, 255] resemble each other most.

    Lucas and Kanade, "An iterative image registration technique", 1981, by normalized correlation and with the damping
    of Levenberg and Marquardt.

    Args:
        matrix: B × 6 maps to begin from, as `place` finds them.
    """
    side, around, iterations = _FINE
    matrix = _improve(*_fields(first, second, side, around), matrix, torch.eye(6), iterations)
    greys = luma(first), luma(second)
    warped, inside = _warp(first, matrix, SIDE)
    grey, weight = luma(warped), inside.float()
    fine = [without_surroundings(values, _AROUND_FINE) for values in (grey, greys[1])]
    sizes = matrix[:, [0, 4]].abs().clamp_min(1e-3)
    share = weight.mean((1, 2, 3))
    lighter = ((greys[1] - grey) * weight).mean((1, 2, 3)) / share.clamp_min(1e-3)
    tints = [functional.adaptive_avg_pool2d(image - luma(image), _TINTS) for image in (warped, second)]
    correlation = _correlation(grey, greys[1], inside)
    patches = torch.zeros(len(matrix))
    some = correlation >= WORTH_MEASURING  # it takes as long as all else
    if some.any():
        patches[some] = _alike_patches(fine[0][some], fine[1][some], inside[some])
    return Alignment(
        matrix=matrix.view(-1, 2, 3),
        correlation=correlation,
        fine=(_normalized(fine[0], inside) * _normalized(fine[1], inside)).sum(1),
        repeats=torch.maximum(*(self_similarity(values) for values in greys)),
        shear=(matrix[:, [1, 3]].abs() / sizes).amax(1),
        overlap=share,
        area=torch.linalg.det(matrix.view(-1, 2, 3)[:, :, :2]).abs(),
        patches=patches,
        lighter=lighter,
        tint=(tints[0] - tints[1]).norm(dim=1).flatten(1).median(1).values,
    )


def _fields(first: Tensor, second: Tensor, side: int, around: int) -> list[Tensor]:
    """B × 1 × side × side brightness of both, less its surroundings."""
    greys = luma(first), luma(second)
    return [without_surroundings(functional.avg_pool2d(grey, SIDE // side), around) for grey in greys]


def _warp(images: Tensor, matrix: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """B × C × side × side images as the map shows them, and where (B × 1 × side × side) that is within their rims."""
    places = (torch.arange(side) + 0.5) * (2 / side) - 1
    right, down = places.repeat(side), places.repeat_interleave(side)
    spots = matrix.view(-1, 2, 3) @ torch.stack([right, down, torch.ones(side * side)])  # B × 2 × P
    inside = (spots.abs().amax(1) <= 1).view(-1, 1, side, side)
    grid = spots.permute(0, 2, 1).reshape(-1, side, side, 2)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False), inside


def _normalized(values: Tensor, inside: Tensor) -> Tensor:
    """B × P, of mean 0 and length 1 over what is inside; 0 outside."""
    values, weight = values.flatten(1), inside.flatten(1).to(values.dtype)
    mean = (values * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    return functional.normalize((values - mean) * weight)


def _difference(first: Tensor, second: Tensor, matrix: Tensor) -> Tensor:
    warped, inside = _warp(first, matrix, first.shape[-1])
    return _normalized(warped, inside) - _normalized(second, inside)


def _best_start(first: Tensor, second: Tensor, matrix: Tensor) -> Tensor:
    """Of each map and of those a little larger, smaller and beside it the one under which the images are nearest."""
    best, least = matrix, torch.full((len(matrix),), torch.inf)
    for scale in _SCALES:
        for right in _SHIFTS:
            for down in _SHIFTS:
                tried = matrix * torch.tensor([scale, 1, 1, 1, scale, 1]) + torch.tensor([0, 0, right, 0, 0, down])
                apart = _difference(first, second, tried).square().sum(1)
                best = torch.where((apart < least)[:, None], tried, best)
                least = torch.minimum(least, apart)
    return best


def _improve(first: Tensor, second: Tensor, matrix: Tensor, moves: Tensor, iterations: int) -> Tensor:
    """Damped Gauss-Newton steps along M × 6 `moves` of the map, each kept where it brings the images nearer."""
    step, count = 1 / first.shape[-1], len(moves) + 1
    trials = torch.cat([torch.zeros(1, 6), step * moves])
    damping = torch.full((len(matrix),), _DAMPING)
    for _ in range(iterations):
        tried = (matrix[None] + trials[:, None]).flatten(0, 1)
        found = _difference(first.repeat(count, 1, 1, 1), second.repeat(count, 1, 1, 1), tried)
        found = found.view(count, len(matrix), -1)
        here, slopes = found[0], ((found[1:] - found[0]) / step).permute(1, 0, 2)
        normal = slopes @ slopes.transpose(1, 2)
        normal = normal + torch.diag_embed(damping[:, None] * normal.diagonal(dim1=1, dim2=2) + 1e-8)
        change = torch.linalg.solve(normal, slopes @ here[:, :, None])[..., 0].clamp(-0.2, 0.2) @ moves
        there = _difference(first, second, matrix - change)
        better = there.square().sum(1) < here.square().sum(1)
        matrix = torch.where(better[:, None], matrix - change, matrix)
        damping = torch.where(better, damping / 4, damping * 16)
    return matrix


def _correlation(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """Of B × 1 × SIDE × SIDE brightness at half the resolution, less its surroundings."""
    small = [without_surroundings(functional.avg_pool2d(grey, 2), _AROUND) for grey in (first, second)]
    within = functional.avg_pool2d(inside.float(), 2) == 1
    return (_normalized(small[0], within) * _normalized(small[1], within)).sum(1)


def self_similarity(grey: Tensor) -> Tensor:
    """B, the largest correlation of B × 1 × SIDE × SIDE brightness with itself when it is moved elsewhere.

    That is normalized correlation with every shift, by Fourier transforms, of what `Alignment.correlation` compares.
    """
    field = without_surroundings(functional.avg_pool2d(grey, 2), _AROUND)[:, 0]
    field = field - field.mean((1, 2), keepdim=True)
    side = field.shape[-1]
    size = 2 * side, 2 * side
    values, energy, ones = (torch.fft.rfft2(x, size) for x in (field, field.square(), torch.ones_like(field)))
    product, own, others, common = (
        torch.fft.irfft2(one * other.conj(), size)
        for one, other in ((values, values), (energy, ones), (ones, energy), (ones, ones))
    )
    found = product / (own.clamp_min(1e-3) * others.clamp_min(1e-3)).sqrt()
    steps = torch.fft.fftfreq(2 * side, 1 / (2 * side))
    elsewhere = steps[:, None].square() + steps.square() > (_ELSEWHERE * side) ** 2
    counted = elsewhere & (common >= _LEAST_IN_COMMON * side**2)
    return found.masked_fill(~counted, -1.0).flatten(1).amax(1)


def _alike_patches(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """Share of patches with something in them that correlate, each moved by up to `_REACH` pixels."""
    count = len(first)

    def patches(images: Tensor) -> Tensor:
        return functional.unfold(images, _PATCH, stride=_PATCH_STEP).view(count, _PATCH**2, -1)

    inner = slice(_REACH, SIDE - _REACH)
    theirs = patches(second[..., inner, inner])
    spread = theirs.std(1)
    theirs = functional.normalize(theirs - theirs.mean(1, keepdim=True), dim=1)
    counted = (patches(inside[..., inner, inner].float()).mean(1) == 1) & (spread > _FLAT)
    best = torch.full_like(spread, -1)
    for down in range(2 * _REACH + 1):
        for right in range(2 * _REACH + 1):
            moved = first[..., down : down + SIDE - 2 * _REACH, right : right + SIDE - 2 * _REACH]
            own = patches(moved)
            own = functional.normalize(own - own.mean(1, keepdim=True), dim=1)
            best = torch.maximum(best, (own * theirs).sum(1))
    alike = ((best > _PATCH_ALIKE) & counted).sum(1).float()
    return alike / counted.sum(1).clamp_min(_FEWEST_PATCHES)

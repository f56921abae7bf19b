"""How well and how fast `dltool ae denoise` takes noise out of photos, beside non-local means and BM3D.

    python benchmarks/denoise.py DATA [--images N] [--slow-images 3] [--phone-images 3] [--threads 2]
        [--model FILE] [--json FILE] [--sheet FILE.png]

DATA is a folder of clean photos. White Gaussian noise of sigma 15, 25 and 50 (of 255) is added to their colours in
floating point and not clipped, the same for every method; results are clipped to [0, 1]. PSNR and SSIM are means over
the images, seconds those of one image, without reading and writing files. Beside dltool: scikit-image's
non-local means (fast mode, patches of 5, distance 6, h = 0.6 sigma, sigma told) and the package `bm3d` (sigma told)
where they are installed; bm3d takes so long that it sees the first --slow-images only, and the other methods' means
over the same images stand beside it ("slow subset").

The second table is sigma 0: how near a clean photo stays to itself. The third is a phone's kind of noise: sigma 25 on
a Bayer mosaic, its missing colours interpolated, then a JPEG of quality 90. Its errors hold those of the mosaic too,
which no denoiser can mend: the row "no noise" is the same without noise.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import convolve

from dltool.denoise.comparison import find_detail
from dltool.denoise.denoiser import SHIPPED_DENOISER, Denoiser, load_denoiser
from dltool.denoise.settings import DenoiseSettings, Method
from dltool.denoise.single_image import denoise
from dltool.device import select_device, set_threads, use_bf16
from dltool.events import finish
from dltool.images.folder import find_images
from dltool.images.quality import psnr, ssim
from dltool.images.read import read_image
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.write import write_image

DecodedImage = np.ndarray  # H × W × 3 float32, 1 is white
Restore = Callable[[DecodedImage], DecodedImage]


def main() -> None:
    """Run the three parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, help="the first N only")
    parser.add_argument("--slow-images", type=int, default=3, help="images that bm3d sees")
    parser.add_argument("--phone-images", type=int, default=3)
    parser.add_argument("--sigmas", type=float, nargs="*", default=[15, 25, 50])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", type=Path, default=SHIPPED_DENOISER)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    device = select_device(arguments.device)
    paths = find_images(arguments.data)[: arguments.images]
    photos = [read_image(path).pixels.astype(np.float32) / 255 for path in paths]
    bf16 = use_bf16("auto", device, cpu_gains=True)
    models = {ensemble: load_denoiser(arguments.model, device, bf16, ensemble) for ensemble in (False, True)}
    print(f"{len(photos)} pictures of {arguments.data}, {arguments.threads} threads, {device.type}", flush=True)
    results: dict[str, Any] = {"white": [], "pictures": len(photos), "threads": arguments.threads}
    for sigma in arguments.sigmas:
        results["white"] += white_noise(photos, sigma, models, arguments.slow_images)
    results["clean"] = clean_photos(photos, models[False])
    results["phone"] = phone_noise(photos[: arguments.phone_images], models[False], device, arguments.sheet)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


def white_noise(
    photos: list[DecodedImage], sigma: float, models: dict[bool, Denoiser], slow: int
) -> list[dict[str, Any]]:
    """PSNR, SSIM and seconds of every method at one level."""
    noisy = [
        photo + np.float32(sigma / 255) * np.random.default_rng(index).standard_normal(photo.shape, np.float32)
        for index, photo in enumerate(photos)
    ]
    methods: dict[str, Restore] = {
        "noisy": lambda image: image,
        "dltool": _restore_with(models[False]),
        "dltool --ensemble": _restore_with(models[True]),
        **_others(sigma / 255),
    }
    rows = []
    print(f"\nsigma {sigma:g}{'':22}PSNR    SSIM  seconds     slow subset: PSNR    SSIM")
    for name, restore in methods.items():
        count = min(slow, len(photos)) if name == "bm3d" else len(photos)
        figures = np.array([_measure(restore, *pair) for pair in zip(noisy[:count], photos[:count], strict=True)])
        if not count:
            continue
        mean, subset = figures.mean(0), figures[:slow].mean(0) if slow else np.full(3, np.nan)
        rows.append({"sigma": sigma, "method": name, **_named(mean), "slow_subset": _named(subset), "pictures": count})
        shown = f"{mean[0]:8.2f}{mean[1]:8.4f}{mean[2]:9.2f}" if count == len(photos) else f"{'':16}{mean[2]:9.2f}"
        print(f"  {name:24}{shown}{'':17}{subset[0]:8.2f}{subset[1]:8.4f}", flush=True)
    return rows


def clean_photos(photos: list[DecodedImage], denoiser: Denoiser) -> dict[str, float]:
    """What denoising does to images without noise."""
    found = [_measure(_restore_with(denoiser), photo, photo)[0] for photo in photos]
    print(f"\nsigma 0: PSNR to itself {np.mean(found):.2f} dB, worst {min(found):.2f} dB", flush=True)
    return {"psnr": float(np.mean(found)), "worst_psnr": min(found)}


def phone_noise(
    photos: list[DecodedImage], denoiser: Denoiser, device: torch.device, sheet: Path | None
) -> list[dict[str, Any]]:
    """The default and the method `self` on noise that a camera's processing has spread; both as the command does it."""
    noisy = [as_phone(photo, 25, index) for index, photo in enumerate(photos)]
    settings = {"dltool": DenoiseSettings(), "dltool --method self": DenoiseSettings(method=Method.SELF)}
    outputs = {"no noise": [as_phone(photo, 0, 0) for photo in photos], "noisy": noisy}
    seconds = dict.fromkeys(outputs, 0.0)
    for name, setting in settings.items():
        started = time.perf_counter()
        network = denoiser if setting.method is Method.NETWORK else None
        outputs[name] = [finish(denoise(pixels, network, setting, device)).pixels for pixels in noisy]
        seconds[name] = (time.perf_counter() - started) / max(1, len(noisy))
    rows = []
    print(f"\nphone, {len(photos)} pictures{'':12}PSNR    SSIM  seconds")
    for name, images in outputs.items():
        pairs = zip(images, photos, strict=True)
        mean = np.mean([_quality(pixels.astype(np.float32) / 255, photo) for pixels, photo in pairs], axis=0)
        rows.append({"method": name, "psnr": mean[0], "ssim": mean[1], "seconds": seconds[name]})
        print(f"  {name:24}{mean[0]:8.2f}{mean[1]:8.4f}{seconds[name]:9.2f}", flush=True)
    if sheet is not None:
        _draw_sheet(photos, outputs, sheet)
    return rows


def as_phone(photo: DecodedImage, sigma: float, seed: int) -> np.ndarray:
    """Noise on a Bayer mosaic (red at even rows and columns), bilinear interpolation, JPEG; H × W × 3 uint8."""
    noisy = photo + sigma / 255 * np.random.default_rng(seed).standard_normal(photo.shape)
    rows, columns = np.indices(photo.shape[:2])
    red, blue = (rows % 2 == 0) & (columns % 2 == 0), (rows % 2 == 1) & (columns % 2 == 1)
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    channels = [
        convolve(noisy[..., channel] * seen, kernel, mode="mirror")
        for channel, (seen, kernel) in enumerate(((red, square), (~(red | blue), cross), (blue, square)))
    ]
    pixels = np.rint(255 * np.stack(channels, axis=2)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file).convert("RGB"))


def _restore_with(denoiser: Denoiser) -> Restore:
    def restore(image: DecodedImage) -> DecodedImage:
        tensor = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).contiguous()
        return denoiser.for_noise_of(image)(tensor).squeeze(0).permute(1, 2, 0).numpy()

    return restore


def _others(sigma: float) -> dict[str, Restore]:
    methods: dict[str, Restore] = {}
    try:
        from skimage.restoration import denoise_nl_means

        quick = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
        methods["non-local means"] = lambda image: denoise_nl_means(image, h=0.6 * sigma, sigma=sigma, **quick)
    except ImportError:
        print("  (scikit-image is not installed)")
    try:
        from bm3d import bm3d_rgb

        methods["bm3d"] = lambda image: bm3d_rgb(image, sigma)
    except ImportError:
        print("  (bm3d is not installed)")
    return methods


def _measure(restore: Restore, noisy: DecodedImage, clean: DecodedImage) -> tuple[float, float, float]:
    started = time.perf_counter()
    restored = restore(noisy)
    seconds = time.perf_counter() - started
    return (*_quality(np.clip(restored, 0, 1).astype(np.float32), clean), seconds)


def _quality(restored: DecodedImage, clean: DecodedImage) -> tuple[float, float]:
    pair = [torch.from_numpy(np.ascontiguousarray(each)).permute(2, 0, 1).unsqueeze(0) for each in (restored, clean)]
    return float(psnr(*pair)), float(ssim(*pair))


def _named(figures: np.ndarray) -> dict[str, float]:
    return dict(zip(("psnr", "ssim", "seconds"), figures.tolist(), strict=True))


def _draw_sheet(photos: list[DecodedImage], outputs: dict[str, list[np.ndarray]], path: Path) -> None:
    """A row for each photo, its most telling detail as every method leaves it."""
    tiles, side = [], 128
    shown = [name for name in outputs if name != "no noise"]
    for index, photo in enumerate(photos):
        clean = np.rint(255 * photo).astype(np.uint8)
        top, left = find_detail(clean, side)
        here = slice(top, top + side), slice(left, left + side)
        for name, image in [("clean", clean), *((name, outputs[name][index]) for name in shown)]:
            value = "" if name == "clean" else f" {_quality(image.astype(np.float32) / 255, photo)[0]:.2f} dB"
            tiles.append(Tile(image[here], name + value))
    title = "Sigma 25 on a Bayer mosaic, interpolated, JPEG quality 90"
    write_image(path, contact_sheet(tiles, columns=1 + len(shown), tile_size=256, title=title))


if __name__ == "__main__":
    main()

"""What `dltool ae sample` draws from a variational autoencoder, and what it would from the plain normal distribution.

    python benchmarks/ae_samples.py RUN DATA [--data-root DIR] [--samples 2000] [--seed 0] [--sheet FILE.png]

RUN is of `ae train DATA --variational`. So many samples are compared with as many test images (held-out ones where DATA
has no test split) in 112 features of the bundled backbone, the `quick features` of `gan train`. Beside them stand as
many training images, and what comes back of the test images themselves: nothing that is drawn can be much better.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.batches import whole_images
from dltool.autoencoder.codes import CHOOSING
from dltool.autoencoder.data import ImageData, load_images
from dltool.autoencoder.heldout import restore
from dltool.events import finish
from dltool.gan.evaluate import compare
from dltool.gan.features import QUICK_EXTRACTOR, Extractor
from dltool.gan.images import grid_page
from dltool.images.sheet import stack_pages, title_page
from dltool.images.write import write_image
from dltool.training.seeds import new_generator

CPU = torch.device("cpu")


def main() -> None:
    """Draw, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_autoencoder(options.run)
    assert trained.size is not None and trained.codes is not None, "not a variational autoencoder that keeps its codes"
    where = {} if options.data_root is None else {"root": options.data_root}
    splits = finish(load_images(ImageData(options.data, **where), 1, options.seed)).splits
    test, train = (
        whole_images(splits[name], trained.channels, trained.size)[: options.samples]
        for name in ("test" if "test" in splits else "val", "train")
    )
    noise = torch.randn(options.samples, trained.module.latent_dim + CHOOSING, generator=new_generator(options.seed))
    sets = {
        "training images": train,
        "test images come back": as_bytes(restore(trained.module, test.float() / 255, CPU)),
        "drawn, one normal law": decoded(trained.module, noise[:, CHOOSING:]),
        f"drawn, {len(trained.codes.weights)} components": decoded(trained.module, trained.codes.place(noise)),
    }
    extractor = Extractor(QUICK_EXTRACTOR, max(trained.size), CPU)
    real = extractor(test)
    print(f"against {len(test)} images, {extractor.name}\n{'':24}{'Fréchet':>8} {'precision':>9} {'recall':>7}")
    for name, images in sets.items():
        found = compare(real, extractor(images), options.seed)
        frechet = "" if found.frechet is None else f"{found.frechet:.1f}"
        print(f"{name:24}{frechet:>8} {found.precision:9.3f} {found.recall:7.3f}", flush=True)
    if options.sheet:
        pages = [(title_page(name, 700), grid_page(images[:36], columns=12, scale=2)) for name, images in sets.items()]
        write_image(options.sheet, stack_pages([page for pair in pages for page in pair]))


@torch.inference_mode()
def decoded(module: torch.nn.Module, codes: Tensor) -> Tensor:
    """N × D codes to uint8 images."""
    return torch.cat([as_bytes(module.decode(part)) for part in codes.split(250)])  # type: ignore[operator]


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as what a file holds."""
    return (images * 255).round().to(torch.uint8)


if __name__ == "__main__":
    main()

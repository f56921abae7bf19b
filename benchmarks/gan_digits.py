"""Whether generated digits can be read: an independent classifier looks at samples of a freshly trained generator.

    python benchmarks/gan_digits.py [--epochs N] [--arch modern] [--samples 500] [--threads 2] [--seed 0]
                                    [--json FILE] [--sheet FILE.png]

A generator is trained on scikit-learn's digits as `dltool gan train digits` does. A fully connected classifier, trained
on real digits and on nothing that the generator has to do with, says how sure it is of each sample. The bars: at
least 90 % sure of at least 85 % of 500 samples, each digit at least 10 times, in under 5 minutes. Its accuracy and
sureness on real digits that it has not seen (three quarters train it, a quarter tests it) are printed beside.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.gan.images import grid_page
from dltool.gan.sample import generate
from dltool.gan.settings import Arch, GanSettings
from dltool.gan.train import train_gan
from dltool.images.write import write_image
from dltool.training.context import RunContext
from dltool.training.seeds import new_generator

_SURE = 0.9


def main() -> None:
    """Train both, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--arch", default="modern")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    digits = load_digits()
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        digits.data / 16, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    judge = MLPClassifier((128,), max_iter=500, random_state=0).fit(seen, seen_labels)
    held_out = judge.predict_proba(unseen)
    accuracy = float((held_out.argmax(1) == unseen_labels).mean())

    wall, cpu = time.perf_counter(), time.process_time()
    settings = GanSettings(arch=Arch(options.arch), epochs=options.epochs, seed=options.seed)
    result = finish(train_gan(DataSettings("digits"), settings, RunContext(torch.device("cpu"))))
    assert result is not None
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu

    module = result.generator.module
    noise = torch.randn(options.samples, module.spec.latent_dim, generator=new_generator(options.seed, "benchmark"))
    classes = module.spec.num_classes
    labels = torch.arange(options.samples) % classes if classes else None
    images = generate(module, noise, labels)
    answers = judge.predict_proba(images.flatten(1).numpy() / 255)
    sure = float((answers.max(1) >= _SURE).mean())
    counts = np.bincount(answers.argmax(1), minlength=10).tolist()
    print(f"trained {result.epochs} epochs in {seconds:.0f} s ({cpu_seconds:.0f} CPU s), best {result.best_epoch}")
    print(
        f"judge on real digits that it has not seen: accuracy {accuracy:.3f}, "
        f"at least {_SURE:.0%} sure of {(held_out.max(1) >= _SURE).mean():.1%}"
    )
    print(f"judge on {options.samples} samples: at least {_SURE:.0%} sure of {sure:.1%} (bar 85 %)")
    print(f"samples by digit: {', '.join(map(str, counts))} (bar 10)")
    if options.sheet:
        write_image(options.sheet, grid_page(images[:100], columns=20, scale=6))
    if options.json:
        found = {"epochs": result.epochs, "seconds": seconds, "cpu_seconds": cpu_seconds, "threads": options.threads}
        found |= {"sure": sure, "counts": counts, "judge_accuracy": accuracy}
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

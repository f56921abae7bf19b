"""A set of class folders small enough to train on in a test."""

import shutil
from pathlib import Path


def copy_textures(sample_images: Path, root: Path, count: int) -> Path:
    """Copy the first so many crops each of brick, grass and gravel below `root`, and return it."""
    for folder in sorted((sample_images / "textures").iterdir()):
        (root / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:count]:
            shutil.copy(file, root / folder.name)
    return root

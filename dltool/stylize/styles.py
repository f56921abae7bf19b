"""Which paintings: one, several blended, or those of a folder in turn; free of torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dltool.errors import DataError, SettingsError
from dltool.images.folder import find_images
from dltool.instant.settings import find_style
from dltool.stylize.settings import TRAINED

_MODEL = "model.safetensors"


@dataclass(frozen=True)
class Style:
    """Paintings blended by their weights; `name` tells it from the others of a folder, and is empty for one alone."""

    images: tuple[tuple[Path, float], ...]
    name: str = ""

    @property
    def trained(self) -> bool:
        """Whether it is model files of `dltool style train` rather than paintings."""
        return self.images[0][0].suffix == TRAINED


def parse_styles(words: Sequence[str]) -> list[Style]:
    """Read what `--style` was given: files with weights (`a.jpg:2`) are one blend, a folder is one style an image.

    Raises:
        DataError: a file is missing, or a folder holds no image.
        SettingsError: a weight is not above zero, a folder stands beside other styles, or a trained style beside a
            painting.
    """
    pairs = [_split_weight(word) for word in words]
    if len({path.suffix == TRAINED for path, _ in pairs}) > 1:
        raise SettingsError("--style: paintings, or trained styles (.safetensors), not both")
    folders = [path for path, _ in pairs if path.is_dir()]
    if not folders:
        return [Style(tuple(pairs))]
    if len(pairs) > 1:
        raise SettingsError(f"--style {folders[0]}: a folder stands for each of its pictures alone; give nothing else")
    images = find_images(folders[0])
    if not images:
        raise DataError(f"--style {folders[0]}: no pictures in this folder")
    names = ["_".join(path.relative_to(folders[0]).with_suffix("").parts) for path in images]
    taken = Counter(names)
    return [
        Style(((path, 1.0),), name if taken[name] == 1 else name + path.suffix)
        for path, name in zip(images, names, strict=True)
    ]


def _split_weight(word: str) -> tuple[Path, float]:
    path = _file(word)
    if path.exists():
        return path, 1.0
    name, colon, text = word.rpartition(":")
    if not colon or not _file(name).exists():
        raise DataError(f"--style {name if colon and _number(text) is not None else word}: no such file or folder")
    weight = _number(text)
    if weight is None or not 0 < weight < float("inf"):
        raise SettingsError(f"--style {word}: '{text}' is no weight; give FILE:NUMBER with a number above 0")
    if _file(name).is_dir():
        raise SettingsError(f"--style {word}: a folder takes no weight")
    return _file(name), weight


def _file(word: str) -> Path:
    """What a word names: a shipped style, the model in the folder of a run, or itself."""
    path = find_style(Path(word))
    return path / _MODEL if (path / _MODEL).is_file() else path


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

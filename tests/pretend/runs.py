"""The same command on the CPU and on the pretend card, and how what they leave is compared."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from dltool.training.session import Session
from tests.cli.run import run_inside
from tests.pretend.card import Counts, pretend_card

# Of the machine, or of the run's place.
_OF_THE_RUN = {"device", "settings", "run", "model", "output", "page", "files", "input"}


def run_on_card(*words: object, capability: tuple[int, int] = (9, 0), exhaust: int = 0) -> tuple[Counts, str]:
    """Run a command on the pretend card to its good end; return the counts and all that it said.

    The card's memory is full, once, at allocation `exhaust` of backward passes.
    """
    with pretend_card(capability) as card, _no_charts():
        card.exhaust(exhaust)
        done = run_inside(*words, "--device", "cuda")
    # What learnt little in an epoch of little is said to, and is what is compared.
    assert done.exit_code == 0 or "is no better than" in done.output, done.output[-2000:]
    return card, done.output


def run_on_cpu(*words: object) -> str:
    """Run a command on the CPU to its good end; return all that it said."""
    with _no_charts():
        done = run_inside(*words, "--device", "cpu")
    # What learnt little in an epoch of little is said to, and is what is compared.
    assert done.exit_code == 0 or "is no better than" in done.output, done.output[-2000:]
    return done.output


def reference(folder: Path, *words: object, name: str = "run") -> Path:
    """What a command writes on the CPU: in `folder`, or where a test before has let it write."""
    if words not in _REFERENCES:
        run_on_cpu(*words, "-o", folder / "cpu" / name)
        _REFERENCES[words] = folder / "cpu" / name
    return _REFERENCES[words]


_REFERENCES: dict[tuple[object, ...], Path] = {}


def on_both(folder: Path, *words: object, name: str = "run") -> tuple[Path, Path]:
    """Run a command on the CPU and on the card; return where each has written."""
    card = folder / "card" / name
    run_on_card(*words, "-o", card)
    return reference(folder, *words, name=name), card


def run_one_epoch(*words: object) -> None:
    """Run a training command and stop it at the end of its first epoch, as Ctrl-C would."""
    real = Session.look

    def look(session: Session) -> None:
        real(session)
        session.stop_requested = bool(session.history)

    with patch.object(Session, "look", look), _no_charts():
        run_inside(*words)


def _no_charts() -> Any:
    """Charts are drawn by the CPU alone, and cost more than all the rest."""
    dot = Image.new("RGB", (1, 1))
    return patch("matplotlib.figure.Figure.savefig", lambda figure, target, **_: dot.save(target, "png"))


def assert_same(one: Path, other: Path, tolerance: float = 2e-3) -> None:
    """Assert that two files or folders hold the same numbers, tensors and images, but for rounding."""
    if one.is_dir():
        names = {str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()}
        assert names == {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
        compared = [name for name in sorted(names) if Path(name).suffix in _COMPARE]
        assert compared
        for name in compared:
            assert_same(one / name, other / name, tolerance)
        return
    _COMPARE[one.suffix](one, other, tolerance)


def _same_images(one: Path, other: Path, tolerance: float) -> None:
    pixels = [np.asarray(Image.open(path).convert("RGB"), np.float32) for path in (one, other)]
    assert pixels[0].shape == pixels[1].shape, one.name
    assert np.abs(pixels[0] - pixels[1]).mean() <= 0.5, one.name


def _same_tensors(one: Path, other: Path, tolerance: float) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=tolerance, atol=tolerance, err_msg=f"{one.name}: {name}")


def _same_document(one: Path, other: Path, tolerance: float) -> None:
    _same_values(json.loads(one.read_text()), json.loads(other.read_text()), tolerance, one.name)


def _same_values(one: Any, other: Any, tolerance: float, where: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one.keys() - _OF_THE_RUN:
            if not name.endswith("seconds"):
                _same_values(one[name], other[name], tolerance, f"{where} {name}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            _same_values(first, second, tolerance, f"{where} {number}")
    elif isinstance(one, float):
        assert abs(one - other) <= tolerance * max(1.0, abs(one)), f"{where}: {one}, {other}"
    else:
        assert one == other, f"{where}: {one}, {other}"


_COMPARE = {".png": _same_images, ".safetensors": _same_tensors, ".json": _same_document}

"""A larger network that is installed is taken where the probe finds it better, and only there."""

from pathlib import Path

import pytest

from dltool.finetune.choices import _better
from dltool.finetune.probe import Probe
from dltool.finetune.settings import Strategy
from dltool.training.events import Notice
from tests.data.test_folders import save
from tests.finetune.conftest import events_of, quick, result_of


def probe(accuracy: float, samples: int = 100) -> Probe:
    return Probe(accuracy, 0.5, 0.1, samples, 5)


@pytest.mark.parametrize(("other", "chosen"), [(0.85, "lite2"), (0.835, "lite0"), (0.8, "lite0"), (0.5, "lite0")])
def test_only_a_gain_beyond_the_standard_error_counts(other: float, chosen: str) -> None:
    """80 % of 100 has a standard error of 4 points."""
    found, said = _better({"lite0": probe(0.8), "lite2": probe(other)}, "lite0")
    assert found == chosen and f"lite0 80.0 %, lite2 {100 * other:.1f} %" in said
    assert ("standard error (4.0)" in said) is (chosen == "lite0")


def test_both_networks_are_probed_where_there_is_something_to_gain(tmp_path: Path, textures: Path, cache: Path) -> None:
    for index in range(16):  # whose classes mean nothing
        save(tmp_path / "data" / "ab"[index % 2] / f"{index}.png", index)
    events = events_of(tmp_path / "data", quick(strategy=Strategy.FEATURES, epochs=1), cache=cache)
    said = [e.text for e in events if isinstance(e, Notice) and "a linear probe finds efficientnet_lite0" in e.text]
    chosen = result_of(events).classifier.arguments["backbone"]
    assert len(said) == 1 and "efficientnet_lite2" in said[0] and said[0].endswith(f": --backbone {chosen}")
    assert result_of(events).settings.backbone == chosen
    easy = events_of(textures, quick(strategy=Strategy.FEATURES, epochs=1), cache=cache)
    assert not any("--backbone" in e.text for e in easy if isinstance(e, Notice))
    named = quick(strategy=Strategy.FEATURES, epochs=1, backbone="efficientnet_lite2")
    assert (
        result_of(events_of(tmp_path / "data", named, cache=cache)).classifier.arguments["backbone"] == named.backbone
    )

"""Charts as coordinates."""

import math

import pytest

from dltool.pages.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, calibration_chart, line_chart
from dltool.pages.classifier_page import reliability


def test_the_ends_of_a_line_are_the_corners() -> None:
    chart = line_chart("t", "epoch", "loss", {"a": [(1, 4.0), (2, 3.0), (5, 0.0)]})
    first, middle, last = (tuple(map(float, point.split(","))) for point in chart.lines[0].pieces[0].split(" "))
    assert first == (LEFT, TOP) and last == (WIDTH - RIGHT, HEIGHT - BOTTOM)
    assert middle[0] == pytest.approx(LEFT + (WIDTH - RIGHT - LEFT) / 4, abs=0.1)
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3", "4", "5"]
    assert [tick.label for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert (chart.first, chart.last) == (1, 5)


def test_decades_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    chart = line_chart("t", "epoch", "loss", {"a": [(1, 100.0), (2, 10.0), (3, 1.0)]}, log=True)
    heights = [y for _, y, _ in chart.lines[0].dots]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.11)
    zero = line_chart("t", "epoch", "loss", {"a": [(1, 100.0), (2, 50.0), (3, 0.0)]}, log=True)
    heights = [y for _, y, _ in zero.lines[0].dots]  # no logarithm of 0: the axis is linear
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.11)


def test_missing_values_part_a_line() -> None:
    points = [(1, 1.0), (2, 2.0), (3, None), (4, math.nan), (5, 3.0), (6, math.inf)]
    chart = line_chart("t", "epoch", "loss", {"a": points})
    assert [len(piece.split(" ")) for piece in chart.lines[0].pieces] == [2, 1]
    assert line_chart("t", "epoch", "loss", {"a": [(1, None)], "b": []}) is None


@pytest.mark.parametrize("value", [0.0, 100.0, -3.0, 1e-9])
def test_one_value_is_a_chart_too(value: float) -> None:
    chart = line_chart("t", "epoch", "%", {"a": [(1, value)]}, most=100)
    ((x, y, _),) = chart.lines[0].dots
    assert LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM
    assert len(chart.y_ticks) >= 2
    if value == 100:
        assert y == TOP  # nothing is above 100 %


def test_bars_are_as_high_as_their_accuracy() -> None:
    rows = [{"class": "a", "answer": "a" if n < 3 else "b", "confidence": "0.95"} for n in range(4)]
    found = reliability([*rows, {"class": "a", "answer": "a", "confidence": "1"}], bins=10)
    assert found[9] == (pytest.approx(0.96), pytest.approx(0.8), 5) and found[0] == (0.0, 0.0, 0)
    chart = calibration_chart(found)
    assert len(chart.bars) == 1
    assert chart.bars[0].height == pytest.approx(0.8 * (HEIGHT - BOTTOM - TOP), abs=0.1)
    assert chart.bars[0].title == "5 images, 96.0 % sure on average, 80.0 % right"

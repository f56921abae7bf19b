"""Sizes as typed, and the one that fits most images."""

import pytest

from dltool.data.sizes import as_size, count_fitting, describe_size, fitting_size, read_size_text


def test_sizes_as_typed():
    assert [read_size_text(text) for text in ("64", "40x24", " 64 x 48", "32x32")] == [64, (40, 24), (64, 48), 32]
    assert as_size([40, 24]) == (40, 24) and as_size([8, 8]) == as_size(8) == 8
    assert (describe_size(64), describe_size((40, 24))) == ("64x64", "40x24")
    for text in ("", "0", "a", "64x", "-8", "8x0", "1.5", "640x480x3"):
        with pytest.raises(ValueError, match="pixels are needed"):
            read_size_text(text)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(16, 16)] * 3, 16),
        ([(40, 24)] * 3, (40, 24)),
        ([(24, 40)] * 3, (24, 40)),
        ([(28, 28)], 28),
        ([(8, 8)], 8),
        ([(12, 12)], 8),
        ([(100, 100)], 64),
        ([(500, 375)] * 9 + [(375, 500)] * 3, (64, 48)),
        ([(500, 375)] * 5 + [(375, 500)] * 5, 64),  # neither shape is that of most
        ([(1920, 1080)] * 3, (64, 40)),
        ([(45, 31)] * 3, (40, 24)),  # nothing is enlarged
        ([(16, 16)] * 9 + [(300, 200)], 16),  # one large image decides nothing
        ([(30, 2000)] * 3, 28),
        ([(500, 20)], 16),
        ([], 64),
    ],
)
def test_the_size_that_fits_most(sizes: list[tuple[int, int]], expected: object):
    assert fitting_size(sizes, squares=(8, 28)) == expected


def test_what_fits_loses_little_and_is_not_enlarged():
    sizes = [(80, 48), (48, 80), (20, 12), (82, 41), (90, 40)]
    assert count_fitting(sizes, (40, 24)) == 1
    assert count_fitting(sizes, (40, 20)) == 2

import numpy as np

from dltool.images.colormap import ColorScale, color_table
from dltool.images.sheet import BACKGROUND, Tile, arrange_tiles, bar_page, contact_sheet, cut_pages, scale_bar


def _solid(value: int, height: int = 50, width: int = 50) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_tiles_stand_row_by_row_at_their_size():
    page = contact_sheet([Tile(_solid(10)), Tile(_solid(20)), Tile(_solid(30))], columns=2, tile_size=100)
    gap = 4
    assert page.shape == (2 * 100 + 3 * gap, 2 * 100 + 3 * gap, 3)
    assert [page[gap + 50, gap + 50, 0], page[gap + 50, 2 * gap + 150, 0], page[2 * gap + 150, gap + 50, 0]] == [
        10,
        20,
        30,
    ]
    assert tuple(page[2 * gap + 150, 2 * gap + 150]) == BACKGROUND


def test_aspect_is_kept_and_a_row_is_as_high_as_its_highest_image():
    page = contact_sheet([Tile(_solid(0, 20, 100)), Tile(_solid(0, 40, 100))], columns=2, tile_size=200)
    assert page.shape[0] == 80 + 2 * 7
    assert (page[:, 7 : 7 + 200, 0] == 0).any(1).sum() == 40


def test_labels_and_title_are_drawn_and_stay_inside():
    plain = contact_sheet([Tile(_solid(128))], columns=3, tile_size=96)
    labelled = contact_sheet([Tile(_solid(128), "a very long label " * 20)], columns=3, tile_size=96, title="t" * 300)
    assert labelled.shape[0] > plain.shape[0]
    assert labelled.shape[1] == plain.shape[1]
    assert (labelled[-20:] < 100).any()


def test_a_long_label_goes_on_in_further_lines():
    heights = [len(contact_sheet([Tile(_solid(0), label)], 1, 96)) for label in ("short", "two words, too long for it")]
    assert heights[1] - heights[0] == round(1.7 * 11)
    wide = [bar_page([(name, 0.5)], 200) for name in ("cat", "a name that needs more than half of the page's width")]
    assert wide[0].shape[1] == 200 and wide[1].shape[1] > 500


def test_scales_are_strips_between_numbers():
    scale = ColorScale(-1.0, 2.0, "viridis")
    strip = scale_bar(scale, 200)
    middle = strip[len(strip) // 2]
    first, last = (np.flatnonzero((middle == end).all(1)) for end in color_table("viridis")[[0, -1]])
    assert 10 < first[0] < last[-1] < 190
    plain, scaled = (contact_sheet([Tile(_solid(0), "x", one)], 1, 200) for one in (None, scale))
    assert len(scaled) - len(plain) == len(scale_bar(scale, 200, 12))
    flat = scale_bar(ColorScale(3.0, 3.0, "viridis"), 200)
    assert (flat == color_table("viridis")[0]).all(2).any() and not (flat == color_table("viridis")[-1]).all(2).any()


def test_pages_are_cut_between_blocks():
    head, blocks = _solid(1, 10, 80), [_solid(2, 40)] * 5
    pages = cut_pages(head, blocks, 100)
    assert [page.shape for page in pages] == [(90, 80, 3), (90, 80, 3), (50, 80, 3)]
    assert [len(page) for page in cut_pages(head, blocks[:1], 20)] == [50]


def test_small_images_are_enlarged_pixel_by_pixel():
    checker = (np.indices((4, 4)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    page = contact_sheet([Tile(checker)], columns=1, tile_size=100)
    assert set(np.unique(page[4:104, 4:104])) == {0, 255}


def test_boxes_are_where_the_images_are() -> None:
    random = np.random.default_rng(0)
    tiles = [
        Tile(random.integers(0, 255, (height, width, 3), np.uint8), "a label")
        for height, width in ((48, 32), (20, 48), (48, 48))
    ]
    page, boxes = arrange_tiles(tiles, columns=2, tile_size=48, title="a title")
    assert np.array_equal(page, contact_sheet(tiles, 2, 48, "a title"))
    for tile, (left, top, width, height) in zip(tiles, boxes, strict=True):
        assert np.array_equal(page[top : top + height, left : left + width], tile.pixels)

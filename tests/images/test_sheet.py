import numpy as np

from dltool.images.sheet import BACKGROUND, Tile, arrange_tiles, contact_sheet


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

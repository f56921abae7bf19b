"""Every kind of page in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from dltool.events import finish
from dltool.pages import write_page
from tests.pages import runs
from tests.pages.conftest import Browser

BUILDERS: dict[str, Callable[[Path], Any]] = {
    "cluster": runs.cluster_run,
    "duplicates": runs.duplicates_run,
    "classifier": runs.classifier_run,
    "generator": runs.generator_run,
    "autoencoder": runs.autoencoder_run,
    "stylize": runs.stylize_run,
    "grid": runs.grid_run,
    "featmap": runs.featmap_run,
}
HOSTILE = {"cluster", "duplicates", "classifier", "stylize", "featmap"}


def make(kind: str, folder: Path, **how: Any) -> Path:
    built = BUILDERS[kind](folder)
    return finish(write_page(built[0] if isinstance(built, tuple) else built, **how))


def file_of(address: str) -> Path:
    return Path(unquote(urlparse(address).path))


def broken_images(tab: Any) -> list[str]:
    """Addresses of images that do not come, lazy ones fetched at once."""
    tab.evaluate("all('img').forEach((image) => { image.loading = 'eager'; })")
    wait = "Promise.all(all('img[src]:not([hidden])').map((image) => image.decode().then(() => '', () => image.src)))"
    return [address for address in tab.evaluate(wait) if address]


@pytest.mark.parametrize("kind", BUILDERS)
def test_page_fits_and_is_silent(kind: str, browser: Browser, tmp_path: Path) -> None:
    page = make(kind, tmp_path)
    for width, scheme in ((400, "light"), (2000, "dark")):
        tab = browser.open(page, width, scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(250, 250, 250)") == (scheme == "light")
        # Every image has a text, and is there.
        assert tab.evaluate("all('img:not([hidden])').every((image) => image.alt.length > 0)")
        assert broken_images(tab) == []
    if kind in HOSTILE:
        assert tab.evaluate("document.scripts.length") == 2
        assert tab.evaluate("all('img').some((image) => image.getAttribute('src') === 'x')") is False
        for button in tab.locator("[data-more], .confusion [data-cell='0 0']").all():
            button.click()
        named = "(name) => all('img').some((i) => i.alt.includes(name)) && document.body.innerText.includes(name)"
        assert tab.evaluate(named, runs.ONERROR)


@pytest.mark.parametrize("kind", BUILDERS)
def test_single_file_needs_nothing_beside_it(kind: str, browser: Browser, tmp_path: Path) -> None:
    page = make(kind, tmp_path, single_file=True)
    assert list(page.parent.glob("index_files/*.[jp]*g")) == []
    alone = tmp_path / "sent.html"
    page.rename(alone)
    tab = browser.open(alone)
    assert broken_images(tab) == []
    assert {url[:5] for url in browser.requests} <= {"file:", "data:"}
    assert sum(url.startswith("file:") for url in browser.requests) == 1


def test_hover_and_click_on_the_map_name_the_file(browser: Browser, tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    tab = browser.open(finish(write_page(run)))
    tab.locator("#map").scroll_into_view_if_needed()
    for name in (names[0], names[17], names[-1]):
        item = tab.evaluate("(name) => files.indexOf(name)", name)
        x, y = tab.evaluate("(item) => spot(item)", item)
        tab.locator("#map").hover(position={"x": x, "y": y})
        text = tab.locator("#detail figcaption").text_content()
        group = 0 if names.index(name) < runs.GROUP_SIZES[0] else 1
        distance = 1 - names.index(name) / 100
        assert text == f"{name}: group {group}, distance {distance:.4g}"
        shown = file_of(tab.locator("#detail img").evaluate("(image) => image.src"))
        assert abs(runs.shade_of(shown) - 7 * names.index(name)) <= 2
    tab.locator("#map").click(position={"x": x, "y": y})
    assert tab.locator("#selected").text_content() == "1 selected"
    # An item that has no place on the map is in its group all the same.
    assert tab.evaluate("(name) => data.places[files.indexOf(name)]", names[5]) is None


def test_the_map_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    run, _ = runs.cluster_run(tmp_path)
    tab = browser.open(finish(write_page(run)))
    tab.locator("#map").focus()
    tab.keyboard.press("ArrowRight")
    first = tab.locator("#detail figcaption").text_content()
    tab.keyboard.press("ArrowRight")
    second = tab.locator("#detail figcaption").text_content()
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#detail figcaption").text_content() == first != second
    tab.keyboard.press("Enter")
    assert tab.locator("#selected").text_content() == "1 selected"


def test_groups_are_typical_first_and_can_be_filtered_and_copied(browser: Browser, tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    tab = browser.open(finish(write_page(run)))
    group = tab.locator("[data-group='0']")
    own = names[: runs.GROUP_SIZES[0]][::-1]  # distances fall along the table
    assert [title.partition(", ")[0] for title in _titles(group)] == own[:12]
    group.locator("[data-more]").click()
    assert [title.partition(", ")[0] for title in _titles(group)] == own
    group.locator("[data-copy]").click()
    assert tab.locator("#list textarea").input_value().split("\n") == own
    tab.locator("#list button").click()

    tab.locator("#filter-name").fill("IMG_1")
    wanted = [name for name in names if "img_1" in name]
    assert tab.locator("#filter-count").text_content() == f"{len(wanted)} shown"
    assert {title.partition(", ")[0] for title in _titles(tab)} >= set(wanted)
    assert len(_titles(group)) == len([name for name in wanted if name in own])
    tab.locator("#filter-group").select_option("1")
    assert group.is_hidden() and tab.locator("[data-group='1']").is_hidden()
    tab.locator("#filter-name").fill("")
    assert tab.locator("#filter-count").text_content() == f"{runs.GROUP_SIZES[1]} shown"

    tab.locator("[data-group='1'] .tile").first.click()
    tab.locator("[data-group='1'] .tile").nth(2).click()
    tab.locator("[data-copy='selected']").click()
    last = names[::-1]
    assert tab.locator("#list textarea").input_value().split("\n") == [last[0], last[2]]


def test_a_long_group_has_only_the_tiles_that_are_near(browser: Browser, tmp_path: Path) -> None:
    run, names = runs.cluster_run(tmp_path)
    more = [f"more/{number}.png" for number in range(900)]
    with (run / "assignments.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{name},1,{2 + number},0.5\n" for number, name in enumerate(more))
    tab = browser.open(finish(write_page(run)))
    group = tab.locator("[data-group='1']")
    group.locator("[data-more]").click()
    every = [*names[runs.GROUP_SIZES[0] :][::-1], *more]
    assert [title.partition(", ")[0] for title in _titles(group)[:14]] == every[:14]
    seen: set[str] = set()
    height = tab.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 600):
        tab.evaluate(f"scrollTo(0, {top})")
        tab.wait_for_timeout(50)
        shown = [title.partition(", ")[0] for title in _titles(group)]
        assert len(shown) < 500
        seen |= set(shown)
    assert seen == set(every)
    assert abs(tab.evaluate("document.documentElement.scrollHeight") - height) < 0.1 * height


def _titles(place: Any) -> list[str]:
    return place.locator(".group .tile, .tiles:not(.copies) .tile").evaluate_all("(tiles) => tiles.map((t) => t.title)")


@pytest.mark.parametrize("kind", ["cluster", "duplicates"])
def test_images_that_show_the_same_stand_side_by_side(kind: str, browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make(kind, tmp_path))
    tiles = tab.locator(".copies .tile")
    shown = tiles.locator("img").evaluate_all("(images) => images.map((image) => [image.alt, image.src])")
    assert [name for name, _ in shown] == (
        ["sub/img_01.png", "sub/img_02.png"] if kind == "cluster" else [runs.ONERROR, "sub/copy.png"]
    )
    shades = [7, 14] if kind == "cluster" else [50, 150]
    assert [runs.shade_of(file_of(address)) for _, address in shown] == pytest.approx(shades, abs=2)
    boxes = [tile.bounding_box() for tile in tiles.all()]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    assert tiles.locator(".note").all_text_contents() == [
        "keep this: 90 × 60, 2 kB",
        "mirrored, darker (likeness 0.98); 90 × 60, 2 kB",
    ]
    if kind == "duplicates":
        tab.locator("[data-copy='spare']").click()
        assert tab.locator("#list textarea").input_value() == "sub/copy.png"


def test_cells_open_their_images(browser: Browser, tmp_path: Path) -> None:
    run, rows = runs.classifier_run(tmp_path)
    tab = browser.open(finish(write_page(run)))
    classes = ["cat", runs.SCRIPT, "dog"]
    for truth, answer in ((0, 0), (0, 2), (1, 0)):
        tab.locator(f".confusion [data-cell='{truth} {answer}']").click()
        wanted = {file for file, own, given in rows if (own, given) == (classes[truth], classes[answer])}
        shown = tab.locator("#cell .tile img").evaluate_all("(images) => images.map((image) => image.alt)")
        assert set(shown) == wanted and len(shown) == len(wanted)
        title = f"{classes[truth]}, answered {classes[answer]}: {len(wanted)} of {len(wanted)} images"
        assert tab.locator("#cell-title").text_content() == title
        for image, name in zip(tab.locator("#cell .tile img").all(), shown, strict=True):
            place = [file for file, *_ in rows].index(name)
            assert abs(runs.shade_of(file_of(image.evaluate("(i) => i.src"))) - 25 * place) <= 2


def test_mistakes_are_sorted_by_confidence_and_classes_by_column(browser: Browser, tmp_path: Path) -> None:
    run, rows = runs.classifier_run(tmp_path)
    tab = browser.open(finish(write_page(run)))
    mistakes = [file for file, truth, answer in rows if truth != answer]  # confidence falls along the rows
    shown = tab.locator("main section").first.locator(".tile img")
    assert shown.evaluate_all("(images) => images.map((image) => image.alt)") == mistakes

    table = tab.locator("table", has=tab.get_by_role("button", name="recall"))
    names = "(rows) => rows.map((row) => row.cells[0].textContent)"
    table.get_by_role("button", name="recall").click()
    assert table.locator("tbody tr").evaluate_all(names) == ["dog", "cat", runs.SCRIPT]
    table.get_by_role("button", name="recall").click()
    assert table.locator("tbody tr").evaluate_all(names) == [runs.SCRIPT, "cat", "dog"]
    assert table.locator("th[aria-sort='ascending']").text_content() == "recall"


@pytest.mark.parametrize("kind", ["generator", "autoencoder"])
def test_the_slider_goes_through_the_epochs(kind: str, browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make(kind, tmp_path))
    slider = tab.locator("#slide")
    last = int(slider.input_value()) + 1
    marks = []
    for epoch in (last, last - 1):
        assert tab.locator("#slide-text").text_content().startswith(f"epoch {epoch}: ")
        image = file_of(tab.locator("#slide-image").evaluate("(image) => image.src"))
        assert runs.shade_of(image) == 60 * epoch
        marks.append(float(tab.locator(".mark").first.get_attribute("x1")))
        slider.press("ArrowLeft")
    dots = tab.locator("svg").first.locator("circle")
    places = [float(dots.nth(place).get_attribute("cx")) for place in (last - 1, last - 2)]
    assert marks == pytest.approx(places, abs=0.11)


@pytest.mark.parametrize("kind", ["autoencoder", "stylize", "grid"])
def test_the_divider_moves(kind: str, browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make(kind, tmp_path))
    pair = tab.locator(".pair").first
    pair.scroll_into_view_if_needed()
    box = pair.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2, steps=4)
    tab.mouse.up()
    cut = "(image) => getComputedStyle(image).clipPath"
    before = pair.locator(".over").evaluate(cut)
    value = float(pair.locator("input").input_value())
    assert 12 <= value <= 28 and f"{100 - value:g}%" in before
    pair.locator("input").press("ArrowRight")
    assert f"{99 - value:g}%" in pair.locator(".over").evaluate(cut)


def test_a_grid_has_a_row_for_each_layer_and_shows_its_cells(browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make("grid", tmp_path))
    assert tab.locator(".grid-table thead th").all_text_contents() == ["0.5 : 1", "5 : 1"]
    assert tab.locator(".grid-table tbody th").all_text_contents() == ["a", "b"]
    images = tab.locator(".grid-table .under")
    shades = [runs.shade_of(file_of(image.evaluate("(i) => i.src"))) for image in images.all()]
    assert shades == pytest.approx([40, 80, 120, 160], abs=1)


def test_three_states_of_an_image_can_be_compared(browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make("autoencoder", tmp_path))
    figure = tab.locator(".compare").first
    names = figure.locator("select").first.locator("option").all_text_contents()
    assert names == ["clean", "with noise", "restored"]
    said = "with noise 14.0 dB, restored 28.1 dB"  # 51 and 10 of 255 off
    assert tab.locator(".pairs .note").first.text_content() == said
    figure.locator("select").first.select_option(label="clean")
    image = figure.locator(".over")
    assert image.get_attribute("alt") == "clean"
    assert runs.shade_of(file_of(image.evaluate("(i) => i.src"))) == 100


def test_layers_and_methods_are_toggled(browser: Browser, tmp_path: Path) -> None:
    tab = browser.open(make("featmap", tmp_path))
    visible = "(figures) => figures.filter((f) => f.id && !f.hidden).map((f) => f.querySelector('img').alt)"
    assert tab.locator("figure").evaluate_all(visible) == [f"Why: gradcam, {runs.SCRIPT}", "Layer: stem"]
    tab.get_by_label(f"saliency, {runs.SCRIPT}").check()
    tab.get_by_label("blocks.1").check()
    assert tab.locator("figure").evaluate_all(visible) == [f"Why: saliency, {runs.SCRIPT}", "Layer: blocks.1"]

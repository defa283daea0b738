"""The views in which one moves about: gallery, details, cross-table, compose, map."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.support.ui import Select

from pipeline.page import compose
from pipeline.report import erase_images
from tests.page.browser import Browser
from tests.page.builders import cross_counts, groups, publish, write_page
from tests.report.builders import MODEL_VERSION, make_showcase, two_facets

pytestmark = [
    pytest.mark.xdist_group("browser"),  # one of it, and the same page stays open from test to test
    pytest.mark.no_cover,  # the page runs in the browser; what makes it is covered by other tests
]

PIXELS = """
const cell = document.querySelector(".cluster [data-image]"), style = getComputedStyle(cell), image = new Image();
const done = arguments[arguments.length - 1];
image.onload = () => {
  const scale = parseFloat(style.backgroundSize) / image.naturalWidth;
  const [x, y] = style.backgroundPosition.split(" ").map(parseFloat);
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = canvas.height = 8;
  context.drawImage(image, -x / scale, -y / scale, 8, 8, 0, 0, 8, 8);
  const values = [...context.getImageData(0, 0, 8, 8).data].filter((_, n) => n % 4 === 0);
  done([Number(cell.dataset.image), values]);
};
image.src = style.backgroundImage.slice(5, -2);
"""

INKED = """
const shown = document.querySelector("canvas"), copy = document.createElement("canvas");
[copy.width, copy.height] = [shown.width, shown.height];
const context = copy.getContext("2d", { willReadFrequently: true });
context.drawImage(shown, 0, 0);
return context.getImageData(0, 0, copy.width, copy.height).data.filter((value, n) => n % 4 === 3 && value > 0).length
"""

CELLS = """
return [...document.querySelectorAll(".cell")].map((cell) =>
  [Number(cell.dataset.row), Number(cell.dataset.column), cell.getAttribute("aria-label")])
"""


def images_of(browser: Browser, selector: str) -> list[int]:
    pictures = "[...document.querySelector(arguments[0]).querySelectorAll('[data-image]')]"
    return browser.run(f"return {pictures}.map((picture) => Number(picture.dataset.image))", selector)


def section(browser: Browser, title: str) -> list[int]:
    sections = "[...document.querySelectorAll('#details section')]"
    found = f"{sections}.find((s) => s.firstChild.textContent.startsWith(arguments[0]))"
    pictures = f"[...{found}.querySelectorAll('button [data-image]')]"
    return browser.run(f"return {pictures}.map((picture) => Number(picture.dataset.image))", title)


def opened(browser: Browser) -> bool:
    return browser.run("return document.getElementById('details').open")


def test_clusters_are_rows_in_the_order_of_confidence(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/1")
    Select(browser.one("select")).select_by_value("confidence")
    shown = [int(row.get_attribute("data-cluster") or -1) for row in browser.all(".cluster")]
    assert shown == [c for c in two_facets().facets[1].by_confidence if c != 2]
    first = images_of(browser, f".cluster[data-cluster='{shown[0]}']")
    assert first == two_facets().facets[1].examples[shown[0]].tolist()
    assert "1 component of the model holds no image" in browser.text("main")


def test_clusters_stand_in_their_groups_which_have_names(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/1")
    facet = groups(two_facets()).facets[1]
    headings = [heading.get_attribute("data-group") for heading in browser.all(".group-heading")]
    shown = [int(row.get_attribute("data-cluster") or -1) for row in browser.all(".cluster")]
    of_shown = [f"f1-g{facet.component_group[c]:03d}" for c in shown]
    assert list(dict.fromkeys(of_shown)) == headings  # each group once, its clusters below it
    assert len(headings) == len(set(headings)) < len(shown)
    assert "thin ones" in browser.text(".group-heading[data-group='f1-g000']")
    browser.one(f".cluster[data-cluster='{shown[0]}'] h2 a").click()
    browser.until("return document.getElementById('details').open")
    assert "in group" in browser.text("#details header")
    assert f"{headings[0]} " in browser.text("#details pre")
    browser.go("clusters/0")  # one group: nothing to divide
    assert not browser.all(".group-heading")


def test_the_tree_shows_which_clusters_join_and_where_it_is_cut(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/1")
    browser.one(".tree summary").click()
    leaves = [leaf.text for leaf in browser.all(".tree-leaves li")]
    assert sorted(leaves) == sorted(row.text.split("\n")[0] for row in browser.all(".cluster"))
    assert len(browser.all(".tree .made")) == 1  # of the clusters in use, one pair is a group
    assert len(browser.all(".tree .apart")) == len(leaves) - 2
    assert len(browser.all(".tree .cut")) == 1
    assert "cuts it into the" in browser.text(".tree")
    browser.go("clusters/0")
    browser.one(".tree summary").click()
    assert "everything is one group" in browser.text(".tree")
    assert not browser.all(".tree .apart, .tree .cut")


def test_a_cluster_says_how_many_new_images_it_got_and_marks_what_chance_does_not_explain(
    browser: Browser, tmp_path: Path
) -> None:
    given = publish(tmp_path, two_facets())
    many = [[0, 0, 0, 90], [15, 15, 0, 15, 15, 30]]
    batch = replace(given.batches[2], sizes=many, n_images=90)
    browser.open(compose(tmp_path, replace(given, batches=[*given.batches[:2], batch])), "clusters/0")
    assert "Of newly delivered images 100 % are here, of training and test images 29 %: more" in browser.text("main")
    assert len(browser.all(".cluster .shifted")) == 4
    browser.go("clusters/1")
    assert "Of newly delivered images 17 % are here" in browser.text("main")
    assert not browser.all(".cluster .shifted")


def test_the_gallery_cuts_no_picture_that_is_wider_than_tall(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path, make_showcase((1, 6, 12))), "clusters/0")
    cut = browser.run("""
        const groups = [...document.querySelectorAll(".cluster .pics")];
        groups.forEach((group) => { group.style.width = "90px"; });
        return groups.map((group) => [...group.children].filter((one) => {
          const own = one.getBoundingClientRect(), end = group.getBoundingClientRect().bottom;
          return own.top < end - 0.1 && own.bottom > end + 0.1;
        }).length);
    """)
    assert cut
    assert not any(cut)


def test_an_image_has_the_confidence_of_its_group_where_clusters_are_joined(browser: Browser, page: Path) -> None:
    """Facet 0 of the builder is one group, facet 1 has several."""
    browser.open(page, "clusters/1?show=image:0")
    alone, joined = (facet.pool for facet in two_facets().facets)
    chips = [chip.text.split("\n")[-1] for chip in browser.all("#details section .row .chip:first-child")]
    assert chips[0] == f"confidence {alone.confidence[0]:.2f}"
    of_group: Any = joined.group_confidence
    assert chips[1] == f"confidence {joined.confidence[0]:.2f}, of its group {of_group[0]:.2f}"


def test_the_gallery_can_be_searched_and_sorted(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0")
    browser.one("input[type=search]").send_keys("THIN")
    assert [row.text.split("\n")[0] for row in browser.all(".cluster")] == ["thin strokes"]
    browser.one("input[type=search]").send_keys("zzz")
    assert "No cluster matches" in browser.text(".empty")
    browser.run(
        "const i = document.querySelector('input[type=search]'); i.value = ''; i.dispatchEvent(new Event('input'))"
    )
    browser.run(
        "const s = document.querySelector('main select'); s.value = 'size'; s.dispatchEvent(new Event('change'))"
    )
    shown = [int(row.get_attribute("data-cluster") or -1) for row in browser.all(".cluster")]
    sizes = cross_counts(two_facets())[0, 1].sum(axis=1)[shown]
    assert (np.diff(sizes) <= 0).all()


def test_pictures_are_cut_from_the_right_place(browser: Browser, page: Path) -> None:
    """What a cell shows, drawn to a canvas through its own background, is the image's pixels."""
    browser.open(page, "clusters/0")
    index, values = browser.driver.execute_async_script(PIXELS)
    np.testing.assert_array_equal(np.array(values).reshape(8, 8), two_facets().pool.images[index, 0])


def test_a_cluster_opens_steps_and_closes_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0")
    browser.run("document.querySelector('.cluster h2 a').focus()")
    browser.press("ENTER")
    browser.until("return document.getElementById('details').open")
    order = two_facets().facets[0].by_confidence
    assert f"show=cluster:0:{order[0]}" in browser.driver.current_url
    assert browser.focused("id") == "details-title"
    browser.one("[data-step='1']").click()
    browser.until("return location.hash.endsWith(arguments[0])", f"cluster:0:{order[1]}")
    assert section(browser, "Surest images") == two_facets().facets[0].examples[order[1]].tolist()
    assert section(browser, "Least sure") == two_facets().facets[0].borderline[order[1]].tolist()
    browser.press("ESCAPE")
    browser.until("return !document.getElementById('details').open")
    browser.until("return location.hash === '#/clusters/0'")


def test_a_cluster_by_address_opens_and_back_leads_out(browser: Browser, page: Path) -> None:
    browser.open(page, "overview")
    browser.go("clusters/0?show=cluster:0:0")
    assert opened(browser)
    assert browser.text("#details-title") == "thin strokes"
    assert "named by hand" in browser.text("#details")
    browser.driver.back()
    browser.until("return !document.getElementById('details').open")
    assert "ways" in browser.text("main h1")


def test_an_empty_cluster_says_so(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/1?show=cluster:1:2")
    assert "No image lies in this component" in browser.text("#details")
    assert browser.all("#details [aria-label='4 generated images']")


def test_an_unknown_address_opens_nothing(browser: Browser, page: Path) -> None:
    for code in ("cluster:9:0", "cluster:0:99", "image:100000", "nonsense", "cell:0:7:1:1"):
        browser.open(page, f"clusters/0?show={code}")
        assert not opened(browser), code
    browser.open(page, "clusters/17")
    assert browser.text("main h1") == "Clusters of Facet 0"


def test_nearest_images_are_nearest_in_the_latents(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0?show=image:7")
    for j, facet in enumerate(two_facets().facets):
        distances = np.linalg.norm(facet.pool.latents - facet.pool.latents[7], axis=1)
        expected = np.argsort(distances)[1:13]
        shown = section(browser, f"Alike in Facet {j}")
        np.testing.assert_allclose(distances[shown], distances[expected], atol=2e-3)
    assert len(section(browser, "Alike in everything")) == 12
    assert f"digit {two_facets().pool.labels['digit'][7]}" in browser.text("#details")


def test_an_image_leads_to_the_next_by_click(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0?show=cluster:0:0")
    first = two_facets().facets[0].examples[0][0]
    browser.one("#details .pic-button").click()
    browser.until("return location.hash.endsWith(arguments[0])", f"image:{first}")
    assert str(two_facets().pool.image_ids[first]) in browser.text("#details")


def test_erased_images_are_nowhere(browser: Browser, tmp_path: Path) -> None:
    swaps = two_facets().swaps
    assert swaps is not None
    given = publish(tmp_path, two_facets())
    gone = [int(two_facets().facets[0].examples[0][0]), int(swaps.anchors[1])]
    erase_images(tmp_path / "models" / MODEL_VERSION / "report", two_facets().pool.image_ids[gone].tolist())
    page = compose(tmp_path, given)
    browser.open(page, "clusters/0?show=cluster:0:0")
    assert not set(section(browser, "Surest images")) & set(gone)
    browser.open(page, f"clusters/0?show=image:{gone[0]}")
    assert not opened(browser)
    browser.open(page, "compose")
    assert len(browser.all(".swap-grid tbody tr")) == len(set(swaps.anchors.tolist()) - set(gone)) < 6


def test_the_cross_table_shows_every_pair_and_its_count(browser: Browser, page: Path) -> None:
    browser.open(page, "cross/0/1")
    counts = cross_counts(two_facets())[0, 1]
    cells = browser.run(CELLS)
    assert len(cells) == 4 * 5
    for row, column, label in cells:
        assert f"{counts[row, column]} image" in label
    browser.run("document.querySelector('input[value=counts]').click()")
    shown = browser.run("return [...document.querySelectorAll('.cell')].map((c) => Number(c.textContent))")
    assert sum(shown) == counts.sum() == 328  # batches are counted, too
    assert "Counted over 328 published images" in browser.text("main")
    browser.run("document.querySelector('input[value=imagined]').click()")
    assert len(browser.all(".cell .pic")) == 20


@pytest.mark.parametrize("width", [1280, 390])
def test_rows_and_columns_of_the_cross_table_say_their_name_or_number(browser: Browser, page: Path, width: int) -> None:
    names = ["thin strokes", "1", "2", "3"]
    expected = [names[row] for row in two_facets().facets[0].by_similarity]
    for route, heads in (("cross/0/1", "tbody"), ("cross/1/0", "thead")):
        browser.show(page, route, width)
        shown = browser.all(f".cross {heads} th")
        assert [" ".join(head.text.split()) for head in shown] == expected, route


def test_the_cross_table_turned_round_keeps_its_counts(browser: Browser, page: Path) -> None:
    browser.open(page, "cross/1/0")
    assert browser.text("main h1") == "Facet 1 against Facet 0"
    browser.run('document.querySelector(\'.cell[data-row="3"][data-column="1"]\').click()')
    browser.until("return document.getElementById('details').open")
    n = cross_counts(two_facets())[0, 1][1, 3]
    assert browser.text("#details dd") == str(n)
    ids = two_facets().facets[0].pool.cluster_id, two_facets().facets[1].pool.cluster_id
    shown = np.flatnonzero((ids[0] == 1) & (ids[1] == 3)).tolist()
    assert section(browser, f"{len(shown)} of its images") == shown


def test_arrow_keys_move_in_the_cross_table(browser: Browser, page: Path) -> None:
    browser.open(page, "cross/0/1")
    rows = list(two_facets().facets[0].by_similarity)
    columns = [id for id in two_facets().facets[1].by_similarity if id != 2]
    browser.run("document.querySelector('.cell').focus()")
    browser.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_DOWN")
    assert (browser.focused("data-row"), browser.focused("data-column")) == (str(rows[1]), str(columns[2]))
    lit = browser.run("return [...document.querySelectorAll('.cross th.lit')].map((head) => head.dataset.head)")
    assert sorted(lit) == [f"col-{columns[2]}", f"row-{rows[1]}"]
    browser.press("END")
    assert browser.focused("data-column") == str(columns[-1])
    browser.press("ENTER")
    browser.until("return document.getElementById('details').open")


def test_empty_cells_are_imagined_and_say_so(browser: Browser, tmp_path: Path) -> None:
    showcase = make_showcase(n_components=(4, 9), n_images=40)
    browser.open(write_page(tmp_path, showcase, has_batches=False), "cross/0/1")
    ghosts = browser.run("return document.querySelectorAll('.cell.ghost').length")
    assert ghosts == int((showcase.crosses[0].examples < 0).sum())
    assert ghosts > 0
    assert "no image" in (browser.one(".cell.ghost").get_attribute("aria-label") or "")


def test_composing_follows_facet_a_and_b(browser: Browser, page: Path) -> None:
    browser.open(page, "compose")
    swaps = two_facets().swaps
    assert swaps is not None
    place = "const p = document.querySelector('.result .pic'); return p.style.backgroundPosition"
    before = browser.run(place)
    browser.run("document.querySelector('[data-spot=\"a-2\"]').click()")
    browser.run("const b = document.querySelector('[data-spot=\"b-4\"]'); b.focus(); b.click()")
    assert images_of(browser, ".equation") == [int(swaps.anchors[2]), int(swaps.anchors[4])]
    assert browser.run(place) != before
    assert browser.focused("data-spot") == "b-4"
    pressed = browser.run("return document.querySelector('.swap-grid td [aria-pressed=true]').dataset.spot")
    assert pressed == "mix-2-4"
    assert all("as wanted" in line.text for line in browser.all(".checks li"))
    before = browser.run(place)
    browser.run("document.querySelector('main input[value=\"0\"]').click()")
    assert browser.run(place) != before


def test_a_swap_that_is_read_differently_is_marked(browser: Browser, tmp_path: Path) -> None:
    swaps = two_facets().swaps
    assert swaps is not None
    read = swaps.cluster_id.copy()
    read[1, 0, 1, 0] = (read[1, 0, 1, 0] + 1) % 4
    page = write_page(tmp_path, replace(two_facets(), swaps=replace(swaps, cluster_id=read)))
    browser.open(page, "compose")
    assert ["changed" in line.text for line in browser.all(".checks li")] == [True, False]


def test_the_map_is_drawn_and_reads_points(browser: Browser, page: Path) -> None:
    browser.open(page, "map/1")
    browser.until(f"return (() => {{ {INKED} }})() > 1000")
    dots = browser.run(INKED)
    browser.run("document.querySelector('input[value=pictures]').click()")
    browser.until(f"return (() => {{ {INKED} }})() > arguments[0] * 1.5", dots)
    browser.run("document.querySelector('canvas').focus()")
    browser.press("ARROW_RIGHT")
    said = browser.run("return document.getElementById('announce').textContent")
    assert said.startswith("Image ")
    assert browser.run("return !document.getElementById('hover').hidden")
    browser.press("ENTER")
    browser.until("return document.getElementById('details').open")
    assert said.removeprefix("Image ").split(", ")[0] in browser.text("#details")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(browser: Browser, page: Path, theme: str) -> None:
    browser.open(page, "training", theme=theme)
    is_dark = "return document.documentElement.classList.contains('dark')"
    assert browser.run(is_dark) == (theme == "dark")
    ground = "return getComputedStyle(document.body.parentNode).backgroundColor"
    before = browser.run(ground)
    browser.one("#theme").click()
    assert browser.run(is_dark) == (theme == "light")
    assert browser.run(ground) != before
    browser.until("return document.querySelector('.chart .scatterlayer .trace')")


def test_names_are_text_not_markup(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase(n_images=60))
    evil = "<img src=x onerror=document.title='hacked'></script>"
    page = compose(
        tmp_path, replace(given, clusters=[replace(given.clusters[0], name=evil, note=evil), *given.clusters[1:]])
    )
    browser.open(page, "clusters/0?show=cluster:0:0")
    assert browser.text("#details-title") == evil
    for route in ("overview", "cross/0/1", "map/0", "unusual/0", "batches"):
        browser.open(page, route)
    assert "hacked" not in browser.driver.title

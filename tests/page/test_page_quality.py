"""What a person never sees but feels: accessibility, size, speed, and silence on the network."""

import statistics
from pathlib import Path

import pytest

from tests.page.browser import Browser
from tests.page.builders import write_page
from tests.report.builders import make_showcase

pytestmark = [
    pytest.mark.xdist_group("browser"),  # one of it, and the same page stays open from test to test
    pytest.mark.no_cover,  # the page runs in the browser; what makes it is covered by other tests
]

ROUTES = [
    "overview",
    "clusters/1",
    "cross/0/1",
    "compose",
    "map/0",
    "unusual/0",
    "batches",
    "training",
    "scores",
    "about",
    "clusters/1?show=cluster:1:3",
    "clusters/1?show=image:7",
    "cross/0/1?show=cell:0:1:2:3",
]
NAMELESS = """
const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length;
return [...document.querySelectorAll("button, a, select, input, [role=img], canvas")]
  .filter((element) => !named(element)).map((element) => element.outerHTML.slice(0, 90))
"""
CUT_OFF = """
const isWider = (e) => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1;
const isCut = (e) => isWider(e) && getComputedStyle(e).overflowX !== "visible";
const isOutside = (box) => box.width && (box.left < -1 || box.right > innerWidth + 1);
return [...document.querySelectorAll("header *, main *, #details[open] *")]
  .filter((e) => !e.closest(".visually-hidden, .wide thead, svg") && (isCut(e) || isOutside(e.getBoundingClientRect())))
  .map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 60)}`)
"""
MAX_BYTES = 15_000_000
MAX_READY_MS = 2000


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_view_is_for_everybody_and_fits_the_screen(
    browser: Browser, page: Path, route: str, width: int, theme: str
) -> None:
    selenium = pytest.importorskip("axe_core_python.selenium")
    browser.show(page, route, width, theme)
    if route in ("training", "scores", "batches"):
        browser.until("return document.querySelector('.chart .scatterlayer')")
    browser.until("return document.getAnimations().every((a) => a.playState === 'finished')")
    check_names_and_landmarks(browser)
    check_nothing_is_wider(browser, width)
    assert browser.run(CUT_OFF) == []
    found = selenium.Axe().run(browser.driver, options={"resultTypes": ["violations"]})["violations"]
    serious = [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
    assert serious == []


def test_on_a_telephone_the_navigation_opens_and_a_link_closes_it(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/1", width=390)
    assert browser.text("#menu") == "Facet 1"
    assert not browser.all("#nav a")
    browser.one("#menu").click()
    assert browser.one("#menu").get_attribute("aria-expanded") == "true"
    assert browser.run(CUT_OFF) == []
    next(link for link in browser.all("#nav a") if "Scores" in link.text).click()
    browser.until("return document.querySelector('main h1').textContent === 'Scores'")
    assert browser.text("#menu") == "Scores"
    assert not browser.all("#nav a")


def test_on_a_telephone_a_wide_cross_table_comes_by_pages(browser: Browser, tmp_path: Path) -> None:
    page = write_page(tmp_path, make_showcase(n_components=(3, 17), n_images=120), has_batches=False)
    browser.open(page, "cross/0/1", width=390)
    seen: list[str] = []
    while True:
        assert browser.run(CUT_OFF) == []
        seen += browser.run("return [...document.querySelectorAll('.cross thead th')].map((head) => head.dataset.head)")
        following = next(button for button in browser.all("main .button") if button.text == "Next")
        if not following.is_enabled():
            break
        following.click()
    assert sorted(seen) == sorted(f"col-{n}" for n in range(17))
    browser.open(page, "cross/0/1")
    assert not [button for button in browser.all("main .button") if button.text == "Next"]
    assert len(browser.all(".cross thead th")) == 17


def check_names_and_landmarks(browser: Browser) -> None:
    assert browser.run("return document.querySelectorAll('h1').length") == 1
    assert browser.run("return ['main', 'nav', 'header'].every((tag) => document.querySelector(tag))")
    assert browser.run(NAMELESS) == []


def check_nothing_is_wider(browser: Browser, width: int) -> None:
    assert browser.run("return document.documentElement.scrollWidth") <= width
    wide = browser.run(
        "return [...document.querySelectorAll('#details[open]')].map((d) => d.scrollWidth - d.clientWidth)"
    )
    assert all(excess <= 0 for excess in wide)


def test_the_skip_link_comes_first_and_works(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("TAB")
    assert browser.focused("class") == "skip"
    browser.press("ENTER")
    assert browser.focused("id") == "main"


def test_ten_thousand_images_are_small_and_quick(browser: Browser, tmp_path: Path) -> None:
    page = write_page(tmp_path, make_showcase(n_components=(25, 25), n_images=10_000, n_examples=24))
    assert page.stat().st_size <= MAX_BYTES
    assert statistics.median(ready_times(browser, page)) < MAX_READY_MS


@pytest.mark.soak
def test_ten_thousand_colour_images_are_small_and_quick(browser: Browser, tmp_path: Path) -> None:
    showcase = make_showcase((3, 32, 32), (60, 20), n_images=10_000, n_examples=24)
    page = write_page(tmp_path, showcase)
    assert page.stat().st_size <= MAX_BYTES
    assert statistics.median(ready_times(browser, page)) < MAX_READY_MS


def ready_times(browser: Browser, page: Path) -> list[float]:
    """Milliseconds from the start of navigation until the page answers, over all the panels that draw pictures."""
    times = []
    for route in ("overview", "clusters/1", "cross/0/1", "map/1", "unusual/1"):
        browser.open(page, route)
        times.append(float(browser.run("return document.documentElement.dataset.ready")))
    return times

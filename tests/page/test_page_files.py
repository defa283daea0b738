"""Names of files on the page: shown, linked, searched, left out."""

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from pipeline.page import compose, rows
from tests.page.browser import Browser
from tests.page.builders import ROOT, aside, files, publish
from tests.report.builders import make_showcase, two_facets

pytestmark = [
    pytest.mark.xdist_group("browser"),  # one of it, and the same page stays open from test to test
    pytest.mark.no_cover,  # the page runs in the browser; what makes it is covered by other tests
]

HOSTILE = [
    '"><img src=x onerror=document.title="hacked">.png',
    "javascript:document.title='hacked'",
    "</script><script>document.title='hacked'</script>",
    "a?b#c%2e%2e&amp;.png",
    "sub folder/new\nline\t\x1b[31m.png",
    "photo\u202egnp.exe",
    "\u0645\u0631\u062d\u0628\u0627.png",
    "caf\\xe9.png",  # bytes that are no UTF-8, as the tables have them
    "{{TITLE}}$&",
]
ON_DISK = [b"caf\xe9.png" if name == "caf\\xe9.png" else name.encode() for name in HOSTILE]


def type_into(browser: Browser, selector: str, text: str) -> None:
    """Replace the text of a field, as typing would."""
    browser.run(
        "const i = document.querySelector(arguments[0]); i.value = arguments[1]; i.dispatchEvent(new Event('input'))",
        selector,
        text,
    )


def test_an_image_says_its_path_and_leads_to_its_file(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0?show=image:7")
    assert "dogs/Été 0007.png" in browser.text("#details")
    link = browser.one("#details a[target=_blank]")
    assert link.get_attribute("href") == f"{ROOT}dogs/%C3%89t%C3%A9%200007.png"
    assert link.get_attribute("rel") == "noopener noreferrer"
    browser.go("clusters/0?show=image:9")  # an image without a name
    assert not browser.all("#details a[target=_blank]")
    assert str(two_facets().pool.image_ids[9]) in browser.text("#details")


def test_hostile_names_are_text_and_lead_to_their_own_file(browser: Browser, tmp_path: Path) -> None:
    showcase = make_showcase(n_images=60)
    given = publish(tmp_path, showcase)
    ids = showcase.pool.image_ids.tolist()
    named = {ids[n]: rows.ImageFile("train", name) for n, name in enumerate(HOSTILE)}
    refused = [rows.AsideRow("train", f"is {HOSTILE[0]}", 1, HOSTILE)]
    hostile = replace(given, files=rows.Files(named, {"train": ROOT}), aside=refused)
    browser.open(compose(tmp_path, hostile), "overview")
    for number, name in enumerate(ON_DISK):
        browser.go(f"clusters/0?show=image:{number}")
        address = browser.one("#details a[target=_blank]").get_attribute("href")
        assert address is not None
        assert unquote_to_bytes(address.removeprefix(ROOT)) == name
    browser.go("clusters/0?show=image:5")
    assert "photo\\u202egnp.exe" in browser.text("#details")
    browser.go("overview")
    assert f"“is {HOSTILE[0]}”" in browser.text(".notice")
    for route in ("clusters/0", "map/0", "unusual/0", "batches", "about"):
        browser.go(route)
        if browser.all("[data-filter=file]"):
            type_into(browser, "[data-filter=file]", HOSTILE[0])
    assert "hacked" not in browser.driver.title


def test_the_filter_by_file_leaves_matching_images_on_every_panel(browser: Browser, page: Path) -> None:
    facet, ids = two_facets().facets[0], range(240)
    wanted = [n for n in ids if 100 <= n < 110 and n % 10 != 9]
    browser.open(page, "clusters/0")
    type_into(browser, "[data-filter=file]", " ÉTÉ 010 ".upper())
    shown = {
        int(row.get_attribute("data-cluster") or -1): browser.run(
            "return [...arguments[0].querySelectorAll('[data-image]')].map((e) => Number(e.dataset.image))", row
        )
        for row in browser.all(".cluster")
    }
    expected = {int(facet.pool.cluster_id[n]) for n in wanted}
    assert shown.keys() == expected
    for cluster, found in shown.items():
        members = [n for n in wanted if facet.pool.cluster_id[n] == cluster]
        assert found == sorted(members, key=lambda n: -facet.pool.confidence[n])
    assert "9 images on this page have" in browser.text(".gallery .note")
    browser.one(".cluster h2 a").click()
    browser.until("return document.getElementById('details').open")
    assert "in their path" in browser.text("#details h3")
    browser.press("ESCAPE")
    browser.until("return !document.getElementById('details').open")
    browser.go("map/0")
    assert "9 images on this page have" in browser.text("main [role=status]")
    browser.go("unusual/0")
    assert browser.run("return document.querySelector('[data-filter=file]').value").strip() == "ÉTÉ 010"
    odd = browser.run("return [...document.querySelectorAll('.odd [data-image]')].map((e) => Number(e.dataset.image))")
    assert set(odd) <= set(wanted)
    browser.go("clusters/1")
    type_into(browser, "[data-filter=file]", "zzz")
    assert "No image on this page has “zzz” in its path" in browser.text("main .empty")
    type_into(browser, "[data-filter=file]", "")
    assert len(browser.all(".cluster")) == 5


def test_the_filter_by_file_and_that_by_cluster_hold_together(browser: Browser, page: Path) -> None:
    browser.open(page, "clusters/0")
    type_into(browser, "[data-filter=file]", "cats/")
    assert len(browser.all(".cluster")) == 4
    type_into(browser, "input[placeholder='name or id']", "thin")
    (row,) = browser.all(".cluster")
    shown = browser.run("return [...arguments[0].querySelectorAll('[data-image]')].map((e) => +e.dataset.image)", row)
    assert shown
    assert all(n % 2 == 0 for n in shown)


def test_a_page_without_names_says_none_and_offers_no_filter(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, two_facets())
    aside_rows = [replace(row, files=()) for row in aside()]
    bare = replace(given, files=None, aside=aside_rows, rejected=[rows.RejectedRow(None, None)])
    page = compose(tmp_path, bare)
    text = page.read_text()
    names = {file.path for file in files(two_facets()).images.values()}
    assert not [word for word in (*names, ROOT, "camera-7", "wave.gif", "scans.npy", "cats/", "dogs/") if word in text]
    browser.open(page, "clusters/0")
    assert not browser.all("[data-filter=file]")
    browser.go("about")
    assert "the page names none; facets report toy --paths lets it" in browser.text("main")
    browser.go("batches")
    assert "Such as" not in browser.text("main")
    assert "1 delivery was rejected as a whole" in browser.text("main")


def test_from_the_web_no_link_leads_to_a_file(browser: Browser, page: Path) -> None:
    handler = partial(_Silent, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.driver.get(f"http://127.0.0.1:{server.server_port}/report.html#/clusters/0?show=image:7")
        browser.until("return document.documentElement.dataset.ready")
        assert "dogs/Été 0007.png" in browser.text("#details")
        assert not browser.all("#details a[target=_blank]")
        server.shutdown()


def test_what_was_set_aside_is_counted_with_its_reasons(browser: Browser, page: Path) -> None:
    browser.open(page)
    notice = browser.text("main .notice")
    assert notice.startswith("150 of ")
    assert "files were set aside: 121 × “is animated or has several pages”, 29 × “has … × … pixels" in notice
    browser.one("main .notice a").click()
    browser.until("return location.hash === '#/batches'")
    told = browser.text("main [aria-label='Set aside']")
    assert "120" in told
    assert "save each picture in a file of its own" in told
    assert "maps/town.png" in told
    assert "3 images of" in told
    assert "4 delivered images were known already" in told
    assert "1 delivery was rejected as a whole" in told
    assert "scans.npy: is empty" in told


def test_where_nothing_was_set_aside_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase(n_images=40), has_batches=False)
    browser.open(compose(tmp_path, given))
    assert "set aside" not in browser.text("main")
    browser.go("batches")
    assert "Every file that was read could be used." in browser.text("main")


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

"""The page that publishing a real, tiny experiment leaves behind."""

import pytest

from tests.page.browser import Browser
from tests.repository import EXPERIMENT, Repository

pytestmark = pytest.mark.xdist_group("browser")


def test_the_published_page_opens_and_shows_real_clusters(browser: Browser, template: Repository) -> None:
    page = template.root / "published" / EXPERIMENT / "report.html"
    browser.open(page)
    assert "seen 2 ways" in browser.text("main h1")
    for number in range(len(browser.all("#nav a"))):
        browser.run("document.querySelectorAll('#nav a')[arguments[0]].click()", number)
        browser.until("return document.querySelector('main h1')")
    browser.go("clusters/1")
    first = browser.one(".cluster h2 a")
    assert first.text.startswith("f1-c")
    first.click()
    browser.until("return document.getElementById('details').open")
    assert browser.all("#details .pic-button")

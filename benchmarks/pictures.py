"""Takes the pictures of the page that README and docs show, of the tables of ``digits`` as they are published here.

    python -m benchmarks.pictures
    python -m benchmarks.pictures --photographs PROJECT/published/garments/report.html

opens the page in a headless Chromium and writes ``docs/pictures/``: after a change of the page or of the model. With
``--photographs`` those of docs/photographs.md, of the page of an experiment on the photographs of garments of
clothing-dataset-small (CC0), as ``facets new`` proposes it.
"""

import argparse
import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.page.browser import Browser, chromium

ROOT = Path(__file__).parent.parent
_PAGE = ROOT / "published" / "digits" / "report.html"
_PICTURES = ROOT / "docs" / "pictures"
_WIDTH, _SIDE = 1280, 236


@dataclass(frozen=True)
class Picture:
    """One picture: where it is taken, and what of it is kept, in pixels of a window 1,280 wide."""

    name: str
    route: str
    height: int
    left: int = _SIDE
    width: int = _WIDTH - _SIDE
    before: str = ""


_ALL = (
    Picture("overview", "overview", 900, 0, 1264),
    Picture("cross_table", "cross/0/1", 1080),
    Picture("clusters", "clusters/1", 900, 0, 1264),
    Picture("tree", "clusters/1", 1110, before="document.querySelector('.tree').open = true"),
    Picture("cluster", "clusters/1", 900, 620, 660, before="document.querySelector('.cluster h2 a').click()"),
    Picture("compose", "compose/0/1", 590),
    Picture("map", "map/1", 960),
    Picture("scores", "scores", 820),
)

_OF_PHOTOGRAPHS = (
    Picture("photographs_cross_table", "cross/0/1", 1080, width=790),
    Picture("photographs_compose", "compose/0/1", 860),
)


def take(browser: Browser, page: Path, picture: Picture) -> None:
    """Open a page anew and write one picture."""
    browser.open(page, picture.route, _WIDTH)
    size = {"width": _WIDTH, "height": max(900, picture.height), "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.run(picture.before)
    browser.run("document.documentElement.style.scrollbarWidth = 'none'")
    browser.run("return new Promise((done) => setTimeout(done, 500))")  # charts and sheets move into their places
    clip = {"x": picture.left, "y": 0, "width": picture.width, "height": picture.height, "scale": 1}
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    (_PICTURES / f"{picture.name}.png").write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures")
    parser.add_argument("--photographs", type=Path, metavar="PAGE")
    photographs = parser.parse_args().photographs
    page, pictures = (_PAGE, _ALL) if photographs is None else (photographs.resolve(), _OF_PHOTOGRAPHS)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        for picture in pictures:
            take(browser, page, picture)


if __name__ == "__main__":
    main()

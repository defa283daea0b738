"""A headless Chromium for tests of the page; skipped with a reason where there is none."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_PATIENCE = 30.0


class Browser:
    """One Chromium; every call that opens or changes the page waits until it is ready."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._n_opened = 0
        self._opened: tuple[Path, int, str] | None = None

    def open(self, page: Path, route: str = "overview", width: int = 1280, theme: str = "light") -> None:
        """Open a page at a route, with a window of a width and a preferred colour scheme."""
        self.resize(width)
        preferred = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self._n_opened += 1
        self.driver.get(f"file://{page}?{self._n_opened}#/{route}")  # another address, or the page would not load anew
        self.until("return document.documentElement.dataset.ready")
        self._opened = (page, width, theme)

    def resize(self, width: int) -> None:
        """Give the window a width."""
        height = 844 if width < 600 else 900
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._opened = None

    def show(self, page: Path, route: str, width: int = 1280, theme: str = "light") -> None:
        """Move to a route of a page, which is loaded only if it is not the one that was opened last."""
        if self._opened == (page, width, theme):
            self.go(route)
        else:
            self.open(page, route, width, theme)

    def go(self, route: str) -> None:
        """Move to another route of the open page."""
        self.run("location.hash = arguments[0]", f"#/{route}")
        self.until("return decodeURIComponent(location.hash) === arguments[0]", f"#/{route}")
        self.run("return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any) -> Any:
        """Run a script until it gives something true."""
        end = time.monotonic() + _PATIENCE
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"still false after {_PATIENCE} s: {script}")
            time.sleep(0.02)
        return found

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a selector finds and a person could see."""
        return [element for element in self.driver.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]

    def one(self, selector: str) -> WebElement:
        """Return the first of :meth:`all`."""
        return self.all(selector)[0]

    def text(self, selector: str) -> str:
        """Return the visible text of the first element that a selector finds."""
        return self.one(selector).text

    def press(self, *keys: str) -> None:
        """Type on whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    def focused(self, attribute: str) -> str | None:
        """Return an attribute of the focused element."""
        return self.run("return document.activeElement.getAttribute(arguments[0])", attribute)

    def complaints(self) -> list[str]:
        """Return everything that the console has said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return every address asked for since the last call, but for the page itself and its own pictures."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        # chrome is the browser's own start page, which sometimes loads late; no file may ask for such an address.
        inside = ("data:", "blob:", "about:", "chrome:", "chrome-untrusted:")
        return [url for url in sent if not url.startswith(inside) and "report.html" not in url]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start a Chromium with an empty profile."""
    program, driver_program = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_program))
    try:
        driver.set_script_timeout(_PATIENCE)
        yield Browser(driver)
    finally:
        driver.quit()

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.browser import Browser, chromium
from tests.page.builders import write_page
from tests.report.builders import two_facets


@pytest.fixture(scope="package")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(_chromium: Browser) -> Iterator[Browser]:
    """A browser that must neither complain nor ask for anything during a test."""
    _chromium.complaints()
    _chromium.requests()
    yield _chromium
    assert _chromium.complaints() == []
    assert _chromium.requests() == []


@pytest.fixture(scope="package")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two facets, one empty cluster, labels and two batches."""
    return write_page(tmp_path_factory.mktemp("page"), two_facets())

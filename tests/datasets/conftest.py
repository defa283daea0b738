from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import prepare_images, scan
from pipeline.datasets.source import Block
from pipeline.layout import Layout
from tests.datasets.builders import preprocess
from tests.datasets.fake_source import Fake, Prepare


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Prepare blocks as experiment ``fake``; return the prepared folder."""

    def run(*blocks: Block, names: dict[str, list[str]] | None = None, **changes: Any) -> Path:
        layout, source = Layout(tmp_path, "fake"), Fake(blocks, names or {})
        for module in ("prepare", "manifest"):
            monkeypatch.setattr(f"pipeline.datasets.{module}.open_source", lambda params, layout: source)
        params = preprocess(**changes)
        scan(layout, params)
        prepare_images(layout, params)
        return layout.prepared

    return run

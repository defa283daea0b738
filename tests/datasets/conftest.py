from pathlib import Path
from typing import Any

import pytest

from pipeline.core.layout import Layout
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.block import Block
from tests.datasets.builders import preprocess
from tests.datasets.fake_source import Fake, Prepare


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Prepare blocks as experiment ``fake``; return the prepared folder."""

    def run(*blocks: Block, names: dict[str, list[str]] | None = None, **changes: Any) -> Path:
        layout, source = Layout(tmp_path, "fake"), Fake(blocks, names or {})
        for module in ("build", "manifest"):
            monkeypatch.setattr(f"pipeline.datasets.prepare.{module}.open_source", lambda params, layout: source)
        params = preprocess(**changes)
        scan(layout, params)
        prepare_images(layout, params)
        return layout.prepared

    return run

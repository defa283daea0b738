"""The contact sheet of views: what is on it, and when there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.views import views
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.datasets.store.images import ImageStore
from pipeline.operations.views import draw_views
from tests.operations.tiny import Tiny


def ignoring(tiny: Tiny, *ignores):
    return replace(tiny.params.train, ignores=ignores)


def pictures(path: Path, lines: int) -> np.ndarray:
    """Return the pictures "row column height width" below so many lines of text: 8×8 enlarged four times, gaps of 8."""
    sheet = np.asarray(Image.open(path))[18 * (lines + 1) :: 4, ::4, 0]
    n_rows = (sheet.shape[0] - 2) // 10
    return np.array(
        [[sheet[2 + 10 * r : 10 + 10 * r, 2 + 10 * c : 10 + 10 * c] for c in range(10)] for r in range(n_rows)]
    )


def test_a_row_shows_an_image_and_its_views(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "views.png"
    words = draw_views(tiny.layout, ignoring(tiny, None, {"time_shift": 50.0}), path)
    assert words == {1: ["columns rolled by up to ±50 % of the width"]}
    shown = pictures(path, 2)
    assert len(shown) == 8
    with ImageStore(tiny.layout.prepared / "train.h5") as store:
        first, last = store.read(0, 1)[0, 0], store.read(store.n_images - 1, store.n_images)[0, 0]
    np.testing.assert_array_equal(shown[[0, -1], 0], [first, last])
    for row in shown:
        for view in row[1:]:
            assert any(np.array_equal(view, np.roll(row[0], by, axis=1)) for by in range(8))
    assert any(not np.array_equal(view, row[0]) for row in shown for view in row[1:])


def test_facets_stand_below_each_other(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "views.png"
    words = draw_views(tiny.layout, ignoring(tiny, {"invert": 100.0}, {"mirrored": 50.0}), path)
    assert list(words) == [0, 1]
    first = pictures(path, 2)[:8]
    np.testing.assert_array_equal(first[:, 1:], np.broadcast_to(255 - first[:, :1], first[:, 1:].shape))


def test_without_anything_to_ignore_it_says_what_to_write(tiny: Tiny, tmp_path: Path) -> None:
    for ignores in (None, (None, None)):
        params = replace(tiny.params.train, ignores=ignores)
        with pytest.raises(
            ConfigError, match=r"^views need a facet .* got none in tiny; write, say, train\.ignores: \[null"
        ):
            draw_views(tiny.layout, params, tmp_path / "views.png")
    with pytest.raises(ConfigError, match=r"hue needs images of 3 channels, got 1"):
        draw_views(tiny.layout, ignoring(tiny, None, {"hue": 9.0}), tmp_path / "views.png")
    with pytest.raises(DataError, match=r"train\.h5"):
        draw_views(Layout(tmp_path, "tiny"), ignoring(tiny, None, {"blur": 1.0}), tmp_path / "views.png")
    assert not (tmp_path / "views.png").exists()


def test_the_command_names_the_file(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny.root
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("ignores: null", "ignores: [null, {rotate: 15, noise: 2.5}]"))
    monkeypatch.chdir(root)
    views("tiny")
    assert capsys.readouterr().out == (
        "facet 1 is trained not to see: rotated by up to ±15°; noise of up to 2.5 % of the range\nviews-tiny.png\n"
    )
    assert (root / "views-tiny.png").stat().st_size > 1000

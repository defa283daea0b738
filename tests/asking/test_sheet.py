import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.asking.sheet import Question, write_sheet


class Sheet(HTMLParser):
    """What a browser sees: elements, words, and the pictures in them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.pictures: list[np.ndarray] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
            kind, _, data = (dict(attrs)["src"] or "").partition(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_a_sheet_shows_every_picture_with_its_number_and_its_name(tmp_path: Path, n_channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, n_channels, 8, 6), dtype=np.uint8)
    names = ["a.png", "<script>&'\".png", "b\u202egnp.png"]
    questions = [Question(name, one, 0.5) for name, one in zip(names, pictures, strict=True)]
    write_sheet(tmp_path / "sheet.html", "birds", 1, "facet_1.csv", questions)
    sheet = Sheet(tmp_path / "sheet.html")
    for found, picture in zip(sheet.pictures, pictures, strict=True):
        expected = picture[0] if n_channels == 1 else picture[:3].transpose(1, 2, 0)
        np.testing.assert_array_equal(found, expected)
    assert [(one["width"], one["height"]) for one in sheet.images] == [("96", "128")] * 3
    assert [one["alt"] for one in sheet.images] == [
        "image 1: a.png",
        "image 2: <script>&'\".png",
        "image 3: b\\u202egnp.png",
    ]
    assert "birds: 3 questions about facet 1" in sheet.words
    assert all(f"{number}{name}" in sheet.words for number, name in enumerate(names[:2], 1))
    assert "script" not in sheet.tags
    assert "facet_1.csv" in sheet.words


def test_one_sheet_needs_no_other_file(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.html", "birds", 0, "x.csv", [Question("a", np.zeros((1, 300, 200), np.uint8), 1.0)])
    sheet = Sheet(tmp_path / "sheet.html")
    assert {"link", "script", "iframe"}.isdisjoint(sheet.tags)
    assert sheet.images[0]["width"] == "200"
    assert "now 100 % sure" in sheet.words

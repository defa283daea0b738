from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.report.sprites import LOSSLESS, Sheet, blank_cells, read_sheet, thumbnails, write_sheet


def pictures(n: int, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 9, 14), (1, 96, 96), (3, 96, 96)])
def test_pictures_come_back_exactly_within_the_budget(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    images = pictures(70, shape)
    sheet = write_sheet(tmp_path, "images", images, 10_000_000)
    assert sheet.quality == LOSSLESS
    np.testing.assert_array_equal(
        read_sheet(tmp_path, sheet), np.broadcast_to(images, (70, 3, *shape[1:])).transpose(0, 2, 3, 1)
    )


def test_many_pictures_go_to_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.sprites._FILE_PIXELS", 64 * 100 * 2)
    images = pictures(300)
    sheet = write_sheet(tmp_path, "images", images, 10_000_000)
    assert sheet.files == ("images-0.webp", "images-1.webp", "images-2.webp")
    assert (sheet.columns, sheet.rows) == (64, 2)
    np.testing.assert_array_equal(read_sheet(tmp_path, sheet), images.transpose(0, 2, 3, 1))
    assert opened(tmp_path / "images-2.webp").shape == (10, 64 * 10, 3)  # 44 pictures left: one row


def test_a_gutter_repeats_the_edge(tmp_path: Path) -> None:
    images = pictures(2, (3, 4, 4))
    write_sheet(tmp_path, "images", images, 10_000_000)
    mosaic = opened(tmp_path / "images-0.webp")
    np.testing.assert_array_equal(mosaic[0, 1:5], images[0, :, 0].T)
    np.testing.assert_array_equal(mosaic[1:5, 6], images[1, :, :, 0].T)


def test_a_small_budget_costs_quality_step_by_step(tmp_path: Path) -> None:
    images = pictures(64)
    sizes = {}
    for budget in (10_000_000, 9_000, 1):
        folder = tmp_path / str(budget)
        sheet = write_sheet(folder, "images", images, budget)
        sizes[budget] = (sheet.quality, (folder / "images-0.webp").stat().st_size)
    assert [quality for quality, _ in sizes.values()] == [100, sizes[9_000][0], 45]
    assert 45 <= sizes[9_000][0] < 100
    assert sizes[1][1] < sizes[9_000][1] <= 9_000 < sizes[10_000_000][1]


def test_equal_pictures_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_sheet(tmp_path / name, "images", pictures(50), 4_000)
    assert (tmp_path / "a/images-0.webp").read_bytes() == (tmp_path / "b/images-0.webp").read_bytes()


def test_no_pictures_need_no_files(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, "swaps", np.empty((0, 1, 8, 8), np.uint8), 100)
    assert sheet.files == ()
    assert sheet.count == 0
    assert list(tmp_path.iterdir()) == []


def test_blanking_removes_pictures_and_leaves_their_neighbours(tmp_path: Path) -> None:
    images = pictures(5)
    sheet = write_sheet(tmp_path, "images", images, 10_000_000)
    blank_cells(tmp_path, sheet, [1, 4])
    back = read_sheet(tmp_path, sheet)
    assert not back[[1, 4]].any()
    np.testing.assert_array_equal(back[[0, 2, 3]], images[[0, 2, 3]].transpose(0, 2, 3, 1))
    mosaic = opened(tmp_path / "images-0.webp")
    assert not mosaic[:, 10:20].any()  # gutters too


def test_a_sheet_survives_json() -> None:
    sheet = Sheet(("a.webp",), 3, 8, 9, 3, 100, 1, 75)
    assert Sheet.from_json(sheet.to_json()) == sheet


def test_thumbnails_only_shrink() -> None:
    assert thumbnails(pictures(2, (3, 28, 28)), 32).shape == (2, 3, 28, 28)
    assert thumbnails(pictures(2, (1, 96, 64)), 32).shape == (2, 1, 32, 21)
    assert thumbnails(pictures(0, (3, 96, 96)), 32).shape == (0, 3, 32, 32)
    flat = np.full((1, 3, 64, 64), 77, np.uint8)
    np.testing.assert_array_equal(thumbnails(flat, 16), np.full((1, 3, 16, 16), 77))


def test_other_channel_counts_show_what_can_be_shown(tmp_path: Path) -> None:
    four, two = pictures(3, (4, 8, 8)), pictures(3, (2, 8, 8))
    shown = read_sheet(tmp_path, write_sheet(tmp_path, "four", four, 10_000_000))
    np.testing.assert_array_equal(shown, four[:, :3].transpose(0, 2, 3, 1))
    shown = read_sheet(tmp_path, write_sheet(tmp_path, "two", two, 10_000_000))
    np.testing.assert_array_equal(shown, np.broadcast_to(two[:, 0, :, :, None], (3, 8, 8, 3)))

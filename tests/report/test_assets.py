from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.storage import read_json
from pipeline.report import erase_images, write_assets, write_thumbnails
from pipeline.report.packing import unpack
from pipeline.report.showcase import Showcase
from pipeline.report.sprites import Sheet, read_sheet
from tests.report.builders import make_showcase, two_facets


@pytest.fixture(scope="module")
def showcase() -> Showcase:
    return two_facets()


@pytest.fixture
def folder(tmp_path: Path, showcase: Showcase) -> Path:
    write_assets(tmp_path / "report", showcase, 32)
    return tmp_path / "report"


def sheet_of(folder: Path, name: str) -> np.ndarray:
    return read_sheet(folder, Sheet.from_json(read_json(folder / "page.json")["sheets"][name]))


def test_arrays_and_pictures_come_back(folder: Path, showcase: Showcase) -> None:
    page = read_json(folder / "page.json")
    assert page["images"]["ids"] == showcase.pool.image_ids.tolist()
    facet, shown = showcase.facets[1], page["facets"][1]
    np.testing.assert_array_equal(unpack(shown["pool"]["cluster_id"]), facet.pool.cluster_id)
    np.testing.assert_allclose(unpack(shown["pool"]["confidence"]), facet.pool.confidence, atol=1e-5)
    of_group: Any = facet.pool.group_confidence
    np.testing.assert_allclose(unpack(shown["pool"]["group_confidence"]), of_group, atol=1e-5)
    np.testing.assert_allclose(unpack(shown["pool"]["latents"]), facet.pool.latents, atol=1e-3)
    assert shown["examples"] == [chosen.tolist() for chosen in facet.examples]
    assert shown["mean_confidence"][2] is None
    assert shown["sizes"][2] == 0
    np.testing.assert_array_equal(sheet_of(folder, "images")[..., 0], showcase.pool.images[:, 0])


def test_generated_pictures_of_a_facet_start_where_the_page_says(folder: Path, showcase: Showcase) -> None:
    page, generated = read_json(folder / "page.json"), sheet_of(folder, "generated")
    for shown, facet in zip(page["facets"], showcase.facets, strict=True):
        first, component = shown["generated_from"], 3
        place = first + component * shown["generated"]
        np.testing.assert_array_equal(generated[place + 1][..., 0], facet.generated[component, 1, 0])


def test_swaps_lie_by_facet_then_a_then_b(folder: Path, showcase: Showcase) -> None:
    assert showcase.swaps is not None
    n = len(showcase.swaps.anchors)
    swaps = sheet_of(folder, "swaps")
    np.testing.assert_array_equal(swaps[(1 * n + 2) * n + 3][..., 0], showcase.swaps.pictures[1, 2, 3, 0])


def test_the_same_showcase_gives_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    write_assets(tmp_path / "again", make_showcase(empty=[(1, 2)]), 32)
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_erased_images_leave_no_pixel_and_no_id(folder: Path, showcase: Showcase) -> None:
    anchor = int(showcase.swaps.anchors[1]) if showcase.swaps else -1
    gone = showcase.pool.image_ids[[anchor, 50]].tolist()
    assert erase_images(folder, [*gone, "i-ffffffffffffffff"]) == 2
    page, images, swaps = read_json(folder / "page.json"), sheet_of(folder, "images"), sheet_of(folder, "swaps")
    assert page["images"]["ids"][anchor] is None
    assert page["images"]["ids"][50] is None
    assert not images[[anchor, 50]].any()
    assert images[51].any()
    n = len(page["swaps"]["anchors"])
    by_pair = swaps.reshape(2, n, n, *swaps.shape[1:])
    assert not by_pair[:, 1].any()
    assert not by_pair[:, :, 1].any()
    assert by_pair[:, 0, 2].any()
    text = (folder / "page.json").read_text()
    assert not any(image_id in text for image_id in gone)


def test_erasing_nothing_changes_nothing(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert erase_images(folder, ["i-ffffffffffffffff"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_thumbnails_of_a_batch_can_be_erased(tmp_path: Path, showcase: Showcase) -> None:
    ids = showcase.pool.image_ids[:60].tolist()
    write_thumbnails(tmp_path / "t", showcase.pool.images[:60], ids, 32)
    assert len(read_json(tmp_path / "t/page.json")["images"]["ids"]) == 48
    assert erase_images(tmp_path / "t", ids[3:4]) == 1
    pixels = sheet_of(tmp_path / "t", "images")
    assert not pixels[3].any()
    assert pixels[4].any()

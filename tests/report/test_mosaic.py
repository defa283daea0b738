import numpy as np

from pipeline.report.mosaic import mosaic


def grid(rows: int, columns: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, *shape), np.uint8)


def test_a_mosaic_holds_every_picture_in_its_place() -> None:
    given = grid(2, 3, (3, 30, 28))
    found = mosaic(given, gap=2)
    assert found.shape == (2 * 32 + 2, 3 * 30 + 2, 3)
    np.testing.assert_array_equal(found[34:64, 62:90], given[1, 2].transpose(1, 2, 0))
    assert (found[:2] == 255).all()
    assert (found[:, 30:32] == 255).all()


def test_small_and_grey_pictures_are_enlarged_and_stay_grey() -> None:
    given = grid(1, 1, (1, 8, 8))
    found = mosaic(given, gap=0)
    assert found.shape == (32, 32, 3)
    np.testing.assert_array_equal(found[::4, ::4, 1], given[0, 0, 0])

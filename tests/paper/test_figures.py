from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.storage import write_json
from pipeline.paper import write_paper_figures
from pipeline.paper.charts import Curve, Spread, curve_chart, spread_chart, write_svg
from pipeline.paper.figures import _courses
from pipeline.paper.pictures import Words, _words, with_originals, write_png


def grid(rows: int, columns: int, shape: tuple[int, int, int] = (3, 4, 5)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, *shape), np.uint8)


def test_swaps_stand_between_their_originals() -> None:
    swaps, originals = grid(2, 2), grid(1, 2)[0]
    found = with_originals(swaps, originals)
    assert found.shape[:2] == (3, 3)
    assert (found[0, 0] == 255).all()
    np.testing.assert_array_equal(found[0, 1:], originals)
    np.testing.assert_array_equal(found[1:, 0], originals)
    np.testing.assert_array_equal(found[1:, 1:], swaps)


def test_pictures_have_a_title_and_their_clusters_beside_them() -> None:
    tables = {
        "experiment": "digits",
        "titles": {"facet_1": ["thin, 10 %", "component 1, 60 %", "f1-c002, 30 %"]},
        "clusters": {"facet_1": [2, 0]},
        "swap_clusters": {"facet_1": [0, 2]},
    }
    examples = _words(tables, "examples_facet_1")
    assert examples.title == "digits, facet 1: test images of every cluster, surest first"
    assert (examples.rows, examples.columns) == (["f1-c002, 30 %", "thin, 10 %"], ())
    swaps = _words(tables, "swaps_facet_1")
    assert swaps.rows == swaps.columns == ["", "thin, 10 %", "f1-c002, 30 %"]  # after the originals


def test_a_picture_keeps_its_pixels_among_the_words(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    write_png(tmp_path / "a.png", picture, Words("Title", ["one", "two"], ["a", "b", "c"]))
    with Image.open(tmp_path / "a.png") as found:
        drawn = np.asarray(found.convert("RGB"))
    windows = np.lib.stride_tricks.sliding_window_view(drawn, picture.shape)[:, :, 0]
    assert (windows == picture).all(axis=(2, 3, 4)).any()


def test_a_spread_chart_shows_seeds_mean_deviation_and_chance() -> None:
    rows = [Spread("a < b, $c", [0.2, 0.4], 0.3, 0.1, 0.15), Spread("c", [0.9], 0.9, None)]
    (axes,) = spread_chart("Title & co", "accuracy", rows).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a < b, $c", "c"]
    drawn = [(line.get_marker(), *np.transpose(line.get_data()).tolist()) for line in axes.lines]
    assert drawn == [
        ("o", [0.2, 0.0], [0.4, 0.0]),
        ("|", [0.3, 0.0]),
        ("|", [0.15, 0.0]),
        ("o", [0.9, 1.0]),
        ("|", [0.9, 1.0]),
    ]
    (deviation,) = axes.collections
    np.testing.assert_allclose(deviation.get_segments()[0], [[0.2, 0.0], [0.4, 0.0]])


def test_equal_charts_are_equal_files_with_text_as_it_is(tmp_path: Path) -> None:
    curve = Curve("seed 0", [0, 1], [1.0, 2.0], [0.0, 0.0], [])
    for name in ("a.svg", "b.svg"):
        write_svg(tmp_path / name, curve_chart("A < B $x", "epoch", "nats", [curve]))
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert all(f">{label}</text>" in text for label in ("A &lt; B $x", "epoch", "nats", "seed 0"))


def test_a_course_is_of_all_seeds_that_reached_an_epoch_from_where_the_facet_joined() -> None:
    both, later = _courses(
        {"facet_0": {"0": [0.1, 0.5, 0.9], "1": [0.3]}, "facet_1": {"0": [None, 0.2], "1": [None, 0.4]}}
    )
    assert (both.label, both.x, both.y) == ("facet 0", [0, 1, 2], [0.2, 0.5, 0.9])
    assert both.std == pytest.approx([0.2 / 2**0.5, 0, 0])
    assert both.runs == [([0, 1, 2], [0.1, 0.5, 0.9]), ([0], [0.3])]
    assert (later.label, later.x) == ("facet 1", [1])
    assert (later.y, later.std) == (pytest.approx([0.3]), pytest.approx(both.std[:1]))
    assert later.runs == [([1], [0.2]), ([1], [0.4])]


def test_a_curve_has_a_band_and_every_run() -> None:
    curve = Curve("facet 0", [0, 1], [0.5, 0.6], [0.1, 0.2], [([0, 1], [0.4, 0.4]), ([0, 1], [0.6, 0.8])])
    (axes,) = curve_chart("Title", "epoch", "accuracy", [curve]).axes
    assert [np.transpose(line.get_data()).tolist() for line in axes.lines] == [
        [[0, 0.4], [1, 0.4]],
        [[0, 0.6], [1, 0.8]],
        [[0, 0.5], [1, 0.6]],
    ]
    (band,) = axes.collections
    corners = np.round(band.get_paths()[0].vertices, 9).tolist()
    assert all(corner in corners for corner in ([0, 0.4], [0, 0.6], [1, 0.4], [1, 0.8]))


def accuracy(value: float) -> dict[str, Any]:
    scores = {"accuracy_same_split": value, "accuracy_same_split_train": value + 0.01}
    spread = {"by_seed": {"0": value, "1": value - 0.1}, "mean": value - 0.05, "std": 0.07}
    return {
        "mean": scores | {"chance": {"accuracy_paper": 0.1}},
        "std": dict.fromkeys(scores, 0.07),
        "selected": scores,
        "spread": spread,
    }


def test_a_folder_of_results_gets_all_figures(tmp_path: Path) -> None:
    epochs = {"facet_0": {"0": [0.1, 0.5, 0.9], "1": [0.3]}, "facet_1": {"0": [0.2, 0.2, 0.2]}}
    for name in ("digits", "scenes"):
        write_json(
            tmp_path / f"{name}.json",
            {
                "experiment": name,
                "accuracy": {"label": accuracy(0.9)},
                "epochs": {"label": epochs},
                "epochs_of": "test",
                "titles": {"facet_0": ["thin, 10 %", "component 1, 60 %", "$x, 30 %"]},
                "clusters": {"facet_0": [2, 0, 1]},
                "swap_clusters": {"facet_0": [1, 1]},
            },
        )
        pictures = {"examples_facet_0": grid(3, 4), "swap_images": grid(1, 2)[0], "swaps_facet_0": grid(2, 2)}
        np.savez_compressed(tmp_path / f"{name}.npz", **pictures)  # pyright: ignore[reportArgumentType]
    written = write_paper_figures(tmp_path)
    names = [path.name for path in written]
    assert names == [
        "digits_examples_facet_0.png",
        "digits_swaps_facet_0.png",
        "scenes_examples_facet_0.png",
        "scenes_swaps_facet_0.png",
        "figure_10_stability.svg",
        "figure_12_generalisation.svg",
        "figure_12_epochs_digits_label.svg",
        "figure_12_epochs_scenes_label.svg",
    ]
    with Image.open(written[1]) as picture:
        assert picture.width > (3 * 7 + 2) * 6 + 40  # the words
        assert picture.height > (3 * 6 + 2) * 6 + 40
    assert "scenes: label, train" in written[5].read_text()
    assert "digits: label on test images, mean ± deviation of 2 seeds" in written[6].read_text()

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.storage import write_json
from pipeline.paper import write_paper_figures
from pipeline.paper.charts import Curve, Spread, curve_chart, spread_chart
from pipeline.paper.pictures import with_originals

SVG = "{http://www.w3.org/2000/svg}"


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


def test_a_spread_chart_puts_values_where_they_belong() -> None:
    chart = spread_chart(
        "Title & co", "accuracy", [Spread("a < b", [0.2, 0.4], 0.3, 0.1, 0.1), Spread("c", [0.9], 0.9, None)]
    )
    root = ET.fromstring(chart)
    across = [float(dot.get("cx", "nan")) for dot in root.iter(f"{SVG}circle")]
    # Linear: 0.2, 0.4 and 0.9 keep the proportions of their distances.
    assert (across[2] - across[1]) / (across[1] - across[0]) == pytest.approx(2.5, rel=0.01)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Title & co", "accuracy", "a < b", "c"} <= set(texts)
    assert sum(path.get("stroke") == "#a8201a" for path in root.iter(f"{SVG}path")) == 1


@pytest.mark.parametrize("values", [[0.5], [1e-6, 3e-6], [-2000.0, 1500.0]])
def test_axes_are_round_and_within_the_chart(values: list[float]) -> None:
    root = ET.fromstring(spread_chart("t", "x", [Spread("row", values, float(np.mean(values)), None)]))
    numbers = []
    for text in root.iter(f"{SVG}text"):
        try:
            numbers.append(float(text.text or ""))
        except ValueError:
            continue
        assert 0 <= float(text.get("x", "nan")) <= 640
    assert 2 <= len(numbers) <= 11


def test_a_gap_in_a_curve_is_a_gap_in_the_line() -> None:
    root = ET.fromstring(curve_chart("t", "epoch", "nats", [Curve("seed 0", [0, 1, 2, 3], [1.0, 2.0, None, 4.0])]))
    lines = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("fill") == "none"]
    assert [lines[0].count(command) for command in "ML"] == [2, 1]


def accuracy(value: float) -> dict[str, Any]:
    scores = {"accuracy_same_split": value, "accuracy_same_split_train": value + 0.01}
    spread = {"by_seed": {"0": value, "1": value - 0.1}, "mean": value - 0.05, "std": 0.07}
    return {
        "mean": scores | {"chance": {"accuracy_same_split": 0.1}},
        "std": dict.fromkeys(scores, 0.07),
        "selected": scores,
        "spread": spread,
    }


def test_a_folder_of_results_gets_all_figures(tmp_path: Path) -> None:
    epochs = {"facet_0": {"0": [0.1, 0.5, 0.9], "1": [0.3]}, "facet_1": {"0": [0.2, 0.2, 0.2]}}
    for name in ("digits", "scenes"):
        write_json(
            tmp_path / f"{name}.json",
            {"experiment": name, "accuracy": {"label": accuracy(0.9)}, "epochs": {"label": epochs}},
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
        assert picture.size == ((3 * 7 + 2) * 6, (3 * 6 + 2) * 6)
    assert "scenes: label, train" in written[5].read_text()
    lines = [path.get("d", "") for path in ET.parse(written[6]).iter(f"{SVG}path") if path.get("fill") == "none"]
    heights = [[float(point.split()[1]) for point in line[1:].split("L")] for line in lines]
    # The mean of both seeds, then the seed that went on: 0.2, 0.5, 0.9.
    assert (heights[0][0] - heights[0][2]) / (heights[0][0] - heights[0][1]) == pytest.approx(7 / 3, rel=0.01)
    assert heights[0][0] == heights[1][0]

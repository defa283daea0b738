"""Settings are the preset's: few images have fewer clusters, very many fewer epochs, grey ones what is stable."""

import numpy as np
import pytest

from pipeline.config.parse import parse
from pipeline.config.resolve import preset_values, resolve
from pipeline.config.safe_yaml import safe_load
from pipeline.config.sections import ModelParams, TrainParams
from pipeline.config.write import with_values
from pipeline.onboarding.directions import FEATURES, ROWS, compare_clusters, write_directions, write_photographs
from pipeline.onboarding.ladder import fallbacks
from pipeline.onboarding.number_of_clusters import ClusterNumbers
from pipeline.onboarding.settings import Setting

PREPROCESS = {"source": ("folder", "why"), "path": ("photographs", "why")}


def written(n_images: int) -> dict:
    return safe_load(write_photographs("album", PREPROCESS, n_images))["album"]


@pytest.mark.parametrize("n_images", [200, 320, 2_000, 9_000])
def test_a_usual_collection_takes_the_preset_as_it_is(n_images: int) -> None:
    own = written(n_images)
    assert not {"model", "train"} & own.keys()
    assert own["report"] == {"sprite_size": 64}
    assert resolve(own, "album")["model"] == preset_values("directions")["model"]


@pytest.mark.parametrize(("n_images", "n_components"), [(159, [7, 4]), (120, [6, 4]), (16, [4, 4])])
def test_few_images_have_fewer_clusters_in_all_facets_but_the_deepest(n_images: int, n_components: list[int]) -> None:
    assert written(n_images)["model"] == {"n_components": n_components}


def test_rows_of_a_table_are_called_so() -> None:
    text = write_directions("album", ROWS, PREPROCESS, 120, noun="row")
    assert "    model: {n_components: [6, 4]}  # at least 20 rows a cluster, of 120 to train on\n" in text
    assert "image" not in text


@pytest.mark.parametrize(("n_images", "epochs"), [(20_000, 10), (1_000_000, 1)])
def test_very_many_images_have_fewer_epochs(n_images: int, epochs: int) -> None:
    phases = safe_load(write_directions("album", FEATURES, PREPROCESS, n_images))["album"]["train"]["phases"]
    assert [phase["epochs"] for phase in phases] == [epochs, epochs]
    assert [phase["fade_in"] for phase in phases] == [0.0, 0.3]


def test_what_is_tried_where_it_collapses_can_be_written_to_the_section() -> None:
    """The section has neither ``model`` nor ``train``, as both are the preset's."""
    text = f"active: [album]\n\nexperiments:\n{write_photographs('album', PREPROCESS, 2_000)}"

    def setting(text: str) -> Setting:
        found = resolve(safe_load(text)["experiments"]["album"], "album")
        return Setting(parse(ModelParams, found["model"], "model"), parse(TrainParams, found["train"], "train"), {})

    steps = fallbacks(setting(text))
    assert len(steps) == 2
    for _, changes in steps:
        assert not setting(with_values(text, "album", changes)).differences(setting(text).changed(changes))


def test_the_most_stable_numbers_are_written_and_said() -> None:
    compared = [
        ClusterNumbers((8, 4), (0.5, 0.9), 0.3),
        ClusterNumbers((4, 10), (0.75, 0.8), 0.39),
        ClusterNumbers((4, 4), (0.9, 0.9), 0.41),  # so large a share may become half in training
    ]
    text = write_directions("album", FEATURES, PREPROCESS, 500, compared)
    assert safe_load(text)["album"]["model"] == {"n_components": [4, 10]}
    assert "    # than 40 % of the images come last." in text.splitlines()
    said = [line.strip() for line in text.splitlines() if "halves agree" in line]
    assert said == [
        "# → clusters [4, 10]: halves agree: facet 0 well (0.75), facet 1 well (0.80)",
        "#   clusters [4, 4]: halves agree: facet 0 well (0.90), facet 1 well (0.90)",
        "#   clusters [8, 4]: halves agree: facet 0 partly (0.50), facet 1 well (0.90)",
    ]


def test_of_too_few_images_nothing_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 6, 6), dtype=np.uint8)
    assert compare_clusters(pixels) == []
    assert capsys.readouterr().err == ""
    text = write_directions("album", ("directions", "grey"), PREPROCESS, 60, [])
    assert safe_load(text)["album"]["model"] == {"n_components": [4, 4]}
    assert "at least 20 images a cluster, of 60 to train on" in text


def test_of_few_images_few_numbers_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (160, 1, 6, 6), dtype=np.uint8)
    assert {one.n_components for one in compare_clusters(pixels)} == {(a, b) for a in (4, 6, 8) for b in (4, 6, 8)}
    assert "numbers of clusters: 9/9 pairs" in capsys.readouterr().err

"""Settings of features are those of their preset; few images have fewer clusters, very many fewer epochs."""

import pytest

from pipeline.config.resolve import preset_values, resolve
from pipeline.config.safe_yaml import safe_load
from pipeline.onboarding.features import write_features, write_photographs

PREPROCESS = {"source": ("folder", "why"), "path": ("photographs", "why")}


def written(n_images: int) -> dict:
    return safe_load(write_photographs("album", PREPROCESS, n_images))["album"]


@pytest.mark.parametrize("n_images", [200, 320, 2_000, 9_000])
def test_a_usual_collection_takes_the_preset_as_it_is(n_images: int) -> None:
    own = written(n_images)
    assert not {"model", "train"} & own.keys()
    assert own["report"] == {"sprite_size": 64}
    assert resolve(own, "album")["model"] == preset_values("features")["model"]


@pytest.mark.parametrize(("n_images", "n_components"), [(199, [9, 4]), (120, [6, 4]), (16, [4, 4])])
def test_few_images_have_fewer_clusters_in_all_facets_but_the_deepest(n_images: int, n_components: list[int]) -> None:
    assert written(n_images)["model"] == {"n_components": n_components}


@pytest.mark.parametrize(("n_images", "epochs"), [(20_000, 10), (1_000_000, 1)])
def test_very_many_images_have_fewer_epochs(n_images: int, epochs: int) -> None:
    phases = safe_load(write_features("album", PREPROCESS, n_images))["album"]["train"]["phases"]
    assert [phase["epochs"] for phase in phases] == [epochs, epochs]
    assert [phase["fade_in"] for phase in phases] == [0.0, 0.3]

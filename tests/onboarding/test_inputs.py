"""Photographs are clustered by features, what is small, grey or taken alike by pixels; the reason says which it is."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pipeline.config.safe_yaml import safe_load
from pipeline.onboarding import inputs
from pipeline.onboarding.inputs import as_features, choose_input, count_directions

RNG = np.random.default_rng(0)
PHOTOGRAPHS = RNG.integers(0, 256, (200, 3, 16, 16), dtype=np.uint8)
ALIKE = (RNG.random((200, 4)) @ RNG.random((4, 768)) * 60).astype(np.uint8).reshape(200, 3, 16, 16)


LARGE = Counter([(3, 120, 200), (3, 300, 240)])


def test_directions_are_counted_as_scikit_learn_does() -> None:
    for pixels in (PHOTOGRAPHS, ALIKE):
        shares = PCA().fit(pixels.reshape(200, -1)).explained_variance_ratio_
        n_directions = count_directions(pixels)
        assert shares[:n_directions].sum() >= 0.9 > shares[: n_directions - 1].sum()


@pytest.mark.parametrize(
    ("seen", "pixels", "are_features", "reason"),
    [
        (
            LARGE,
            PHOTOGRAPHS,
            True,
            r"features of a pretrained network, as images are in colour, 250 pixels",
        ),
        (LARGE, PHOTOGRAPHS[:, :1], False, "pixels, as networks trained on photographs have seen little in grey"),
        (LARGE, np.repeat(PHOTOGRAPHS, 2, 1)[:, :4], False, "pixels, as networks .* take no 4 channels"),
        (Counter([(3, 64, 48)]), PHOTOGRAPHS, False, "pixels, as 64 of them on the longer side are few enough to read"),
        (LARGE, ALIKE, False, r"pixels, as \d directions hold 90% of what differs: they are taken alike"),
        (LARGE, PHOTOGRAPHS[:30], True, "features of a pretrained network"),
    ],
)
def test_colour_size_and_variety_decide(seen, pixels, are_features, reason) -> None:
    found = choose_input(seen, pixels)
    assert found.are_features == are_features
    assert re.match(reason, found.reason)


def test_without_the_extra_pixels_are_proposed_and_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda module: None if module == "timm" else object())
    found = choose_input(LARGE, PHOTOGRAPHS)
    assert not found.are_features
    assert found.reason.startswith("pixels, though images are in colour")
    assert "would tell them apart better: run pip install 'facet-pipeline[features]'" in found.reason


def test_a_proposal_for_pixels_becomes_one_for_features() -> None:
    proposed = {"source": ("folder", "why"), "size": ("[20, 32]", "why"), "channels": ("grey", "why")}
    changed = as_features(proposed, LARGE, "reason")
    assert {key: safe_load(value) for key, (value, _) in changed.items()} == {
        "source": "folder",
        "features": {"backbone": "efficientnet_lite0", "weights": None, "batch_size": 32},
        "size": [64, 64],
        "fit": "crop",
        "channels": "rgb",
    }
    assert as_features(proposed, Counter([(3, 100, 104)]), "reason")["fit"][0] == "stretch"

import numpy as np
import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.datasets.readers.factors import FACTORS, factors_to_labels, file_rows, labels_to_factors, select_factors


@pytest.mark.parametrize(
    ("selection", "n_images", "fixed"),
    [
        ("configuration_1", 4800, {1: 5, 2: 6}),
        ("configuration_2", 4800, {0: 0, 2: 6}),
        ("floor_hue=0, wall_hue=5", 4800, {0: 0, 1: 5}),
        ("shape=3,orientation=14,scale=0", 1000, {3: 0, 4: 3, 5: 14}),
        (None, 480_000, {}),
    ],
)
def test_selection_fixes_what_it_names_and_varies_the_rest(selection, n_images, fixed):
    factors = select_factors(selection)
    assert len(factors) == n_images == len(np.unique(file_rows(factors)))
    for column, size in enumerate(FACTORS.values()):
        assert set(np.unique(factors[:, column])) == ({fixed[column]} if column in fixed else set(range(size)))


def test_rows_follow_the_file_order_last_factor_fastest():
    everything = select_factors(None)
    assert np.array_equal(file_rows(everything), np.arange(480_000))
    assert everything[1].tolist() == [0, 0, 0, 0, 0, 1]
    assert everything[15].tolist() == [0, 0, 0, 0, 1, 0]
    assert (np.diff(file_rows(select_factors("configuration_2"))) > 0).all()


def test_labels_are_the_files_floats_and_survive_their_quirks():
    factors = np.stack([np.arange(10)] * 3 + [np.arange(10) % 8, np.arange(10) % 4, np.arange(10)], axis=1)
    labels = factors_to_labels(factors)
    assert labels[:, 0].tolist() == [i / 10 for i in range(10)]
    assert (labels[0, 3], labels[7, 3], labels[1, 5]) == (0.75, 1.25, -30 + 60 / 14)
    truncated = ((labels[:, 3] - 0.75) * 14).astype(int)
    assert (truncated != factors[:, 3]).any(), "truncation must go wrong here, else rounding proves nothing"
    assert np.array_equal(labels_to_factors(labels), factors)
    assert np.array_equal(labels_to_factors(labels.astype(np.float32).astype(np.float64)), factors)


def test_every_label_of_the_file_maps_back():
    everything = select_factors(None)[::7]
    assert np.array_equal(labels_to_factors(factors_to_labels(everything)), everything)


@pytest.mark.parametrize("wrong", [0.05, np.nan, np.inf, -1.0])
def test_labels_between_legal_values_are_refused(wrong):
    labels = factors_to_labels(select_factors("configuration_1")[:3])
    labels[1, 1] = wrong
    with pytest.raises(DataError, match=r"labels of wall_hue must be one of .* in row 1"):
        labels_to_factors(labels)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("configuration_3", r"factors must be configuration_1, configuration_2 or name=index pairs"),
        ("colour=1", r"factors must be .* got 'colour=1'"),
        ("shape=1,shape=2", r"names? .*shape twice|each factor once, got shape twice"),
        ("shape=4", r"shape must be a whole number below 4, got '4'"),
        ("scale=-1", r"scale must be a whole number below 8, got '-1'"),
        ("scale", r"scale must be a whole number below 8, got ''"),
    ],
)
def test_wrong_selections_are_refused(selection, message):
    with pytest.raises(ConfigError, match=message):
        select_factors(selection)

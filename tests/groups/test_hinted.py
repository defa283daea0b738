import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hints import HintPair, collect_hints
from pipeline.groups import find_groups, group_facet
from pipeline.groups.confirmed import overlap
from pipeline.groups.hinted import cannot_links
from pipeline.groups.opinions import responsibilities
from pipeline.groups.tree import merge_components
from pipeline.mixture.fit import fit_mixture
from pipeline.mixture.place import place_mixture
from pipeline.mixture.refit import encode_posteriors, refit_settings
from tests.groups.builders import clusterings, soft
from tests.model.builders import TINY
from tests.training.builders import started_model, uint8_images


def of_labels(labels, pairs=()):
    return collect_hints(np.array(labels, np.int64)[:, None], pairs)


def test_a_component_speaks_for_the_label_of_most_of_its_images():
    hints = of_labels([0, 0, 1, 1, 1, 2])
    component = np.array([0, 0, 0, 1, 1, 3])  # 2 has none; 0 holds two images of label 0 and one of label 1
    apart = cannot_links(soft(component, 4), hints, 0)
    expected = np.zeros((4, 4), bool)
    for one, other in [(0, 1), (0, 3), (1, 3)]:
        expected[one, other] = expected[other, one] = True
    np.testing.assert_array_equal(apart, expected)


def test_pairs_tell_apart_what_they_name_and_nothing_else():
    pairs = [HintPair(0, 1, 0, False), HintPair(2, 3, 0, True)]
    apart = cannot_links(soft(np.arange(4), 5), of_labels([-1] * 4, pairs), 0)
    assert np.argwhere(apart).tolist() == [[0, 1], [1, 0]]


@given(st.integers(0, 1000), st.integers(2, 6))
@settings(max_examples=30)
def test_no_cut_below_one_joins_what_is_apart_and_every_share_stays_one(seed, n_labels):
    rng = np.random.default_rng(seed)
    made = [rng.dirichlet(np.full(7, 0.3), 50) for _ in range(3)]
    label = rng.integers(-1, n_labels, 7)
    apart = (label[:, None] != label) & (label[:, None] >= 0) & (label >= 0)
    tree = merge_components(overlap(made[0], made[1:]), apart)
    assert list(tree.confirmed) == sorted(tree.confirmed)
    assert max(tree.confirmed) <= 1
    group = tree.cut(tree.n_groups(1.0))
    assert not apart[group[:, None] == group].any()


@given(st.integers(0, 1000), st.floats(0.1, 0.5))
@settings(max_examples=20, deadline=None)
def test_no_group_holds_what_cannot_be_linked_whatever_half_samples_vote(seed, share):
    rng = np.random.default_rng(seed)
    made = [rng.dirichlet(np.full(9, 0.3), 40) for _ in range(3)]
    pairs = np.triu(rng.random((9, 9)) < share, 1)
    apart = pairs | pairs.T
    group = np.array(group_facet(made[0], made[1:], None, apart).component_group)
    assert not apart[group[:, None] == group].any()


def test_without_hints_that_differ_the_tree_is_the_same():
    _, made = clusterings(3, 2, n_seeds=3)
    table = overlap(made[0], made[1:])
    assert merge_components(table, np.zeros((6, 6), bool)) == merge_components(table)


def test_two_pieces_of_one_block_are_two_groups_once_a_person_says_so():
    block, made = clusterings(2, 2, n_seeds=4)
    plain = group_facet(made[0], made[1:], None)
    assert plain.n_groups == 2
    one, other = np.unique(made[0][block == 0].argmax(1))
    apart = np.zeros((4, 4), bool)
    apart[one, other] = apart[other, one] = True
    told = group_facet(made[0], made[1:], None, apart)
    assert told.n_groups == 3
    assert told.component_group[one] != told.component_group[other]
    assert told.certainty == 1.0


def fitted(model, images):
    """The model with mixtures fitted to what its encoder says of the images, so that several components are used."""
    for facet, qz in enumerate(encode_posteriors(model, images)):
        latents = qz.mean[0].double().numpy()
        settings = refit_settings(model.params.covariance[facet], latents)
        place_mixture(model, facet, 0, fit_mixture(latents, model.params.n_components[facet], settings, 0, facet))
    return model


@pytest.mark.parametrize("facet", [0, 1])
def test_groups_of_a_model_respect_its_hints(facet):
    images = uint8_images(60)
    model = fitted(started_model(TINY, (7,)), images)
    component = responsibilities(model, images)[facet].argmax(1)
    kinds = np.unique(component)
    assert len(kinds) > 1
    rows = [int(np.flatnonzero(component == kind)[0]) for kind in kinds]
    labels = np.full((60, 2), -1)
    labels[rows, facet] = np.arange(len(rows))
    hints = collect_hints(labels)
    found = find_groups(model, 7, [], images, (hints, images[hints.rows]))
    assert len({found.facets[facet].component_group[kind] for kind in kinds}) == len(kinds)
    plain = find_groups(model, 7, [], images)
    assert found.facets[1 - facet] == plain.facets[1 - facet]

import numpy as np
import pytest

from pipeline.groups import group_facet
from pipeline.groups.number import vote_on_number
from tests.groups.builders import clusterings, soft


@pytest.mark.parametrize(("n_blocks", "pieces"), [(1, 4), (2, 1), (2, 3), (5, 2), (7, 1)])
def test_well_separated_blocks_give_their_number(n_blocks, pieces):
    _, (own, *others) = clusterings(n_blocks, pieces, n_seeds=3)
    assert vote_on_number(own, others) == (n_blocks, 1.0)


def test_the_vote_is_the_same_every_time_and_a_close_call_is_not_certain():
    """The other clustering misplaces every ninth image: 1 bit - H(1/9) = 0.497 bits of the cut are confirmed."""
    own = np.arange(360) % 2
    other = np.where(np.arange(360) // 2 % 9 == 0, 1 - own, own)
    found = vote_on_number(soft(own, 2), [soft(other, 2)])
    assert found == vote_on_number(soft(own, 2), [soft(other, 2)])
    assert 0.5 <= found[1] < 1


@pytest.mark.parametrize("n_components", [1, 2])
def test_facets_of_one_and_two_components(n_components):
    _, (own, *others) = clusterings(n_components, 1, n_seeds=3)
    groups = group_facet(own, others, None)
    assert (groups.n_groups, groups.certainty) == (n_components, 1.0)
    assert groups.component_group == tuple(range(n_components))
    np.testing.assert_allclose(groups.share, own.mean(0), rtol=1e-6)


def test_two_components_that_nobody_else_finds_are_one_group():
    _, (own, *others) = clusterings(1, 2, n_seeds=3)
    assert group_facet(own, others, None).component_group == (0, 0)


def test_the_groups_are_a_cut_of_the_tree_and_their_shares_sum_to_one():
    _, (own, *others) = clusterings(4, 3, n_seeds=4)
    groups = group_facet(own, others, 0.5)
    assert groups.component_group == tuple(groups.tree.cut(groups.n_groups).tolist())
    assert sum(groups.share) == pytest.approx(1)
    mass = [own[:, np.array(groups.component_group) == group].sum() / len(own) for group in range(4)]
    np.testing.assert_allclose(groups.share, mass, rtol=1e-5)

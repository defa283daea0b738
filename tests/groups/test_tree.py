import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, is_valid_linkage

from pipeline.core.groups import MergeTree
from pipeline.groups.confirmed import overlap
from pipeline.groups.tree import merge_components
from tests.groups.builders import as_partition, clusterings, soft


def tree_of(clusterings):
    return merge_components(overlap(clusterings[0], clusterings[1:]))


def as_linkage(tree):
    """The tree in scipy's form, with the number of the step for a height."""
    sizes = [1] * tree.n_components
    rows = []
    for step, (one, other) in enumerate(tree.merges):
        sizes.append(sizes[one] + sizes[other])
        rows.append([one, other, step + 1.0, sizes[-1]])
    return np.array(rows)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_every_cut_is_scipys(seed):
    rng = np.random.default_rng(seed)
    tree = tree_of([rng.dirichlet(np.full(7, 0.3), 50) for _ in range(3)])
    linkage = as_linkage(tree)
    assert is_valid_linkage(linkage)
    assert list(tree.confirmed) == sorted(tree.confirmed)
    for n_groups in range(1, 8):
        group = tree.cut(n_groups)
        assert as_partition(group) == as_partition(fcluster(linkage, n_groups, "maxclust"))
        assert list(dict.fromkeys(group.tolist())) == list(range(n_groups))


def test_a_cut_at_a_share_is_a_cut_at_a_number():
    tree = MergeTree(((0, 1), (2, 3), (4, 5)), (0.1, 0.5, 0.9))
    assert [tree.n_groups(share) for share in (0.0, 0.1, 0.2, 0.5, 0.6, 1.0)] == [4, 4, 3, 3, 2, 1]
    assert tree.cut(2).tolist() == [0, 0, 1, 1]
    for n_groups in (0, 5):
        with pytest.raises(ValueError, match=f"4 components has no cut into {n_groups} groups"):
            tree.cut(n_groups)


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_blocks_that_others_share_join_within_before_they_join_each_other(pieces):
    block, made = clusterings(4, pieces, n_seeds=4)
    tree = tree_of(made)
    group = tree.cut(4)[made[0].argmax(1)]
    assert len(set(zip(block.tolist(), group.tolist(), strict=True))) == 4
    assert max([0.0, *tree.confirmed[: 4 * (pieces - 1)]]) < 0.2 < 0.6 < tree.confirmed[4 * (pieces - 1)]


@given(st.permutations(range(6)), st.permutations(range(3)))
@settings(max_examples=20)
def test_names_of_components_and_the_order_of_seeds_change_nothing_but_names(order, seeds):
    own, *others = clusterings(3, 2, n_seeds=4, n_images=200)[1]
    before, after = tree_of([own, *others]), tree_of([own[:, order], *(others[seed] for seed in seeds)])
    np.testing.assert_allclose(after.confirmed, before.confirmed, atol=1e-9)
    for n_groups in range(1, 7):
        renamed = {frozenset(order.index(one) for one in group) for group in as_partition(before.cut(n_groups))}
        assert as_partition(after.cut(n_groups)) == renamed


def test_a_component_without_mass_joins_the_largest():
    own, other = soft(np.array([0, 0, 3, 3, 3, 1]), 4), soft(np.array([0, 0, 2, 2, 2, 1]), 4)
    tree = tree_of([own, other])
    assert (tree.merges[0], tree.confirmed[0]) == ((2, 3), 0.0)
    assert tree.n_groups(0.5) == 3


def test_one_component_is_a_tree_without_a_step():
    tree = tree_of([np.ones((5, 1)), np.ones((5, 1))])
    assert tree == MergeTree((), ())
    assert tree.cut(1).tolist() == [0]

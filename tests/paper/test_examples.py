import numpy as np

from pipeline.paper.examples import ordered_clusters, ordered_members

CLUSTER = np.array([3, 0, 3, 1, 0, 1, 3])
CONFIDENCE = np.array([0.5, 0.9, 0.7, 0.8, 0.7, 0.8, 0.9], np.float32)


def test_rows_by_mean_assignment_probability_and_empty_clusters_are_left_out():
    # means: 0 -> 0.8, 1 -> 0.8 (a tie: the smaller number first), 3 -> 0.7; 2 is empty
    assert ordered_clusters(CLUSTER, CONFIDENCE.astype(np.float64).round(1)) == [0, 1, 3]
    assert ordered_clusters(np.zeros(4, int), np.full(4, 0.3)) == [0]


def test_columns_by_probability():
    members = ordered_members(CLUSTER, CONFIDENCE, [3, 1, 2], 2)
    assert [rows.tolist() for rows in members] == [[6, 2], [3, 5], []]


def test_renaming_components_renames_the_order():
    rename = np.array([7, 2, 0, 4])
    renamed = ordered_clusters(rename[CLUSTER], np.linspace(0.1, 0.9, 7))
    assert renamed == rename[ordered_clusters(CLUSTER, np.linspace(0.1, 0.9, 7))].tolist()

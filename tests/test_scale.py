"""Ten million images and rows; the bars hold for a machine that does nothing else meanwhile."""

import pytest

from benchmarks import scale


@pytest.mark.soak
def test_cost_grows_in_a_straight_line():
    record = scale.measure(10_000_000, 10_000_000)
    assigned, tables = record["assign"], record["tables"]
    assert assigned["microseconds_an_image_overall"] <= 1.1 * assigned["microseconds_an_image_first_100k"]
    assert assigned["peak_mib"] <= 1024
    assert min(tables["seconds_to_publish_10000"]) <= 3
    assert min(tables["seconds_clusters_counted"]) <= 1
    assert min(tables["seconds_image_looked_up"]) <= 0.3

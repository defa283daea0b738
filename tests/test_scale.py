"""Ten million images and rows; the bars hold for a machine that does nothing else meanwhile."""

import pytest

from benchmarks import known, scale


@pytest.mark.soak
def test_cost_grows_in_a_straight_line():
    record = scale.measure(10_000_000, 10_000_000)
    assigned, tables = record["assign"], record["tables"]
    first, overall = (assigned[f"microseconds_an_image_{part}"]["processors"] for part in ("first", "overall"))
    assert overall <= 1.1 * first
    assert assigned["peak_mib"] <= 1024
    for what, bar in (("to_publish_10000", 3), ("clusters_counted", 1), ("image_looked_up", 0.3)):
        assert min(cost["clock"] for cost in tables[f"seconds_{what}"]) <= bar


@pytest.mark.soak
def test_ten_times_as_many_published_rows_make_an_ingestion_hardly_dearer():
    (line,) = known.measure(True)
    assert line.ratio <= 1.5
    assert line.more["peak_mib"] - line.more["floor_peak_mib"] <= 300

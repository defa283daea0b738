"""Looking content up: right whatever was published, removed or lost, from few files and little memory."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError, PublishError
from pipeline.core.image_ids import HASH_DTYPE, ContentSet, parse_ids, short_ids
from pipeline.core.sealed import file_digest
from pipeline.core.storage import read_json
from pipeline.tables import sorted_hashes
from pipeline.tables.content import PublishedContent, _Run, _to_merge
from pipeline.tables.sorted_hashes import SortedHashes, merged, sorted_blocks, write_hashes
from tests.tables.builders import Bench, cycle, make_ids, published_bench

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"


@pytest.fixture
def bench(tmp_path):
    return published_bench(tmp_path)[0]


def add(bench, **batches):
    """Publish batches in one step."""
    folders = {}
    for name, ids in batches.items():
        bench.write_batch(f"b-{name}", ids)
        folders[f"b-{name}"] = bench.assign(f"b-{name}", OLD, ids, [cycle(len(ids), 4), cycle(len(ids), 3)])
    bench.history.add_batches(folders, bench.batches)


def known(bench, ids):
    return bench.history.content().has(parse_ids(np.asarray(ids).tolist())[0]).tolist()


def files(bench):
    """Return the files of hashes: what each states, and its hashes."""
    found = []
    for path in sorted((bench.published / "parts" / "content").iterdir()):
        assert path.name == f"{file_digest(path)}.hashes"
        line, _, data = path.read_bytes().partition(b"\n")
        stated = json.loads(line)
        found.append((stated, np.frombuffer(data, HASH_DTYPE, stated["rows"])))
    return found


def published_hashes(bench):
    tables = [pq.read_table(path) for path in bench.published.glob("parts/shared/*/images.parquet")]
    return np.sort(parse_ids(one for table in tables for one in table["image_id"].to_pylist())[0])


def test_a_file_is_a_line_and_the_sorted_hashes_of_the_parts_that_it_names(bench):
    ((stated, hashes),) = files(bench)
    assert stated["rows"] == len(hashes) == 80
    assert (hashes == published_hashes(bench)).all()
    entries = read_json(next(bench.published.glob("lists/*.json")))["entries"]
    assert set(stated["covers"]) == {entry["parts"]["images"]["ids"] for entry in entries}
    assert known(bench, [*make_ids(2, 79), *make_ids(1)]) == [True, False, True]
    assert known(bench, []) == []


def test_before_the_first_version_nothing_is_known(tmp_path):
    assert known(Bench(tmp_path), make_ids(2)) == [False, False]


@given(st.lists(st.integers(1, 300), max_size=40))
def test_each_file_outgrows_all_smaller_ones_together(sizes):
    runs, n_written = [], 0
    for number, size in enumerate(sizes):
        merged = _to_merge(runs, size)
        runs = [run for run in runs if run not in merged]
        runs.append(_Run(str(number), frozenset(), size + sum(run.rows for run in merged), 0))
        n_written += runs[-1].rows
    total = sum(sizes)
    assert sum(run.rows for run in runs) == total
    rows = sorted(run.rows for run in runs)
    assert all(row > sum(rows[:place]) for place, row in enumerate(rows) if place)
    assert n_written <= total * (1 + np.log2(max(total, 1)))


def test_files_are_merged_block_by_block_and_searched_page_by_page(bench, monkeypatch):
    for name, value in (("_BLOCK", 7), ("_NEEDLES", 3), ("_PAGE", 4)):
        monkeypatch.setattr(sorted_hashes, name, value)
    bench.history.withdraw(frozenset(make_ids(1, 79)))  # what was written with other pages goes
    for number, size in enumerate([30, 20, 41, 1, 2, 3]):
        add(bench, **{str(number): make_ids(size, 100 * (number + 1))})
    found = files(bench)
    assert len(found) < 5
    assert (np.sort(np.concatenate([hashes for _, hashes in found])) == published_hashes(bench)).all()
    assert all((np.sort(hashes) == hashes).all() for _, hashes in found)
    assert sum(len(stated["covers"]) for stated, _ in found) == 8
    wanted = make_ids(800)
    there = {*make_ids(79), *(one for i, n in enumerate([30, 20, 41, 1, 2, 3]) for one in make_ids(n, 100 * (i + 1)))}
    assert known(bench, wanted) == [one in there for one in wanted]
    assert bench.history.check() == []


def test_what_is_removed_is_known_no_longer(bench):
    add(bench, one=make_ids(10, 100))
    gone = [make_ids(1)[0], make_ids(1, 103)[0]]
    bench.history.withdraw(frozenset(gone))
    assert known(bench, [*gone, *make_ids(2, 1)]) == [False, False, True, True]
    assert not np.isin(parse_ids(gone)[0], np.concatenate([hashes for _, hashes in files(bench)])).any()
    assert bench.history.check() == []


def test_what_left_the_source_is_known_no_longer(bench):
    ids = {"train": make_ids(50), "test": make_ids(20, 60)}
    bench.write_model(NEW, {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    bench.publish(NEW)
    assert known(bench, make_ids(81)) == [True] * 50 + [False] * 10 + [True] * 20 + [False]
    bench.publish(OLD)
    assert known(bench, make_ids(81)) == [True] * 80 + [False]
    assert len(files(bench)) == 1


def test_without_its_files_the_parts_are_read_and_the_next_step_writes_them_again(bench):
    add(bench, one=make_ids(100, 100))
    for path in (bench.published / "parts" / "content").iterdir():
        path.unlink()
    assert bench.history.lacks_content()
    assert known(bench, make_ids(82)) == [True] * 80 + [False] * 2
    with pytest.raises(PublishError, match="got 1 that are already in"):
        add(bench, two=make_ids(2, 199))
    add(bench, three=make_ids(1, 300))
    assert not bench.history.lacks_content()
    assert (np.concatenate([hashes for _, hashes in files(bench)]) == published_hashes(bench)).all()
    assert bench.history.check() == []


def test_a_damaged_file_is_named_and_mended(bench):
    add(bench, one=make_ids(10, 100))
    before = {path: path.read_bytes() for path in (bench.published / "parts" / "content").iterdir()}
    path, right = next(iter(before.items()))
    path.write_bytes(right[:-20] + bytes(20))
    reason = rf"{path.name} must be as it was published, but was changed or damaged; run facets check --repair"
    with pytest.raises(DataError, match=reason):
        bench.history.content()
    with pytest.raises(DataError, match=reason):
        add(bench, two=make_ids(1, 300))
    assert [path.name in problem for problem in bench.history.check()] == [True]
    bench.history.mend_content()
    assert bench.history.check() == []
    assert known(bench, make_ids(80)) == [True] * 80
    path.write_bytes(b"")
    bench.history.mend_content()
    assert not bench.history.lacks_content()


def test_a_version_that_comes_meanwhile_is_looked_up_instead(bench, monkeypatch):
    n_tries = []

    def lookup(published, images):
        n_tries.append(1)
        if len(n_tries) == 1:
            add(bench, one=make_ids(200, 100))  # merges the file that this reader is about to open
            raise DataError("a file is missing")
        return PublishedContent(published, images)

    def fail(published, images):
        raise DataError("a file is missing")

    monkeypatch.setattr("pipeline.tables.history.PublishedContent", lookup)
    assert known(bench, make_ids(2, 99)) == [False, True]
    monkeypatch.setattr("pipeline.tables.history.PublishedContent", fail)
    with pytest.raises(DataError, match="a file is missing"):
        bench.history.content()


def test_ids_of_earlier_releases_are_known_by_64_bits(tmp_path):
    bench, old = Bench(tmp_path), short_ids(make_ids(60))
    ids = {"train": old, "test": make_ids(20, 60)}
    bench.write_model(OLD, {batch: [cycle(len(of), k) for k in (4, 3)] for batch, of in ids.items()}, ids)
    bench.publish(OLD)
    other = [f"{one}{'0' * 15}1" for one in (old[0], short_ids(make_ids(1, 60))[0])]
    assert known(bench, [*make_ids(2), *old[:2], *make_ids(2, 79), *other]) == [True] * 5 + [False, True, False]
    with pytest.raises(PublishError, match=f"got 1 that are already in, such as {make_ids(1, 59)[0]}"):
        add(bench, one=make_ids(1, 59))
    with pytest.raises(PublishError, match="got 1 that are already in"):
        add(bench, one=make_ids(2, 100), two=short_ids(make_ids(1, 101)))
    add(bench, one=make_ids(2, 100))
    assert bench.history.check() == []


def word(number):
    """Return a content hash of few possible ones; every third has 64 bits."""
    return bytes([number // 6 * 40]) * 8 + (bytes(8) if number % 3 == 0 else bytes([number % 3]) * 8)


@given(st.lists(st.lists(st.integers(0, 35), min_size=1, max_size=30), min_size=1, max_size=4), st.integers(1, 5))
def test_sorted_files_hold_find_and_merge_what_was_written(tmp_path_factory, lists, page):
    folder = tmp_path_factory.mktemp("hashes")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_BLOCK", 6), ("_NEEDLES", 4), ("_PAGE", page)):
            patch.setattr(sorted_hashes, name, value)
        arrays = [np.array([word(number) for number in numbers], HASH_DTYPE) for numbers in lists]
        with (folder / "all").open("wb") as file:
            file.write(b"a line\n")
            n_rows = write_hashes(file, merged(sorted_blocks(iter(arrays), folder)))
        stored = SortedHashes(folder / "all", n_rows, 7)
        for path in folder.iterdir():
            path.unlink()  # whoever searches goes on
        every = np.sort(np.concatenate(arrays))
        assert n_rows == stored.n_rows == len(every)
        assert (stored.read(0, n_rows) == every).all()
        needles = np.array([word(number) for number in range(40)], HASH_DTYPE)
        assert stored.has(needles).tolist() == ContentSet(every).has(needles).tolist()
        assert [stored.place(one) for one in needles.tolist()] == np.searchsorted(every, needles).tolist()

import os

import pytest

from pipeline.core.errors import ConfigError
from pipeline.tables import read
from tests.tables.builders import Bench, cycle, make_ids, published_bench

pytestmark = pytest.mark.no_shapes  # the tests of publishing check them

MODELS = [f"m-{letter * 12}" for letter in "abcd"]


def publish_models(bench, ids, models):
    for number, model in enumerate(models):
        bench.write_model(
            model, {batch: [cycle(len(of), 4, number), cycle(len(of), 3)] for batch, of in ids.items()}, ids
        )
        bench.publish(model)


@pytest.fixture
def bench(tmp_path):
    bench, ids = published_bench(tmp_path)
    publish_models(bench, ids, MODELS[1:])
    return bench


def test_old_versions_go_with_what_only_they_needed(bench):
    assert bench.history.prune(2, None) == {2: None, 1: None}
    assert sorted(path.name for path in (bench.published / "versions").iterdir()) == ["3.json", "4.json"]
    for folder in ("parts", "models"):
        names = {path.name for path in (bench.published / folder).iterdir()}
        assert names == {*MODELS[2:], *(("shared", "content") if folder == "parts" else ())}
    assert len(read("toy", "facet_0", root=bench.root, version=3)) == 80
    with pytest.raises(ConfigError, match=r"version must be one of those kept in .*, newest 4, got 2"):
        read("toy", "facet_0", root=bench.root, version=2)
    assert bench.history.check() == []
    assert bench.history.prune(2, None) == {}


def test_the_current_version_always_stays(bench):
    assert bench.history.prune(1, None) == {3: None, 2: None, 1: None}
    assert bench.history.served().version == 4


@pytest.mark.parametrize("trained", ["m-111111111111", "m-222222222222", None])
def test_a_model_that_waits_to_be_published_stays_whatever_the_clock_said(bench, trained):
    for seconds, model in enumerate(("m-111111111111", "m-222222222222")):
        bench.write_model(model, {"train": [cycle(5, 4), cycle(5, 3)]}, {"train": make_ids(5)})
        os.utime(bench.published / "models" / model, (seconds, seconds))
    bench.history.prune(4, trained)
    waiting = {path.name for path in (bench.published / "models").iterdir()} - set(MODELS)
    assert waiting == ({trained} if trained else {"m-111111111111", "m-222222222222"})


def test_withdrawn_versions_go_with_their_leftovers(bench):
    bench.history.withdraw(frozenset(make_ids(1)))
    assert bench.history.prune(1, None) == dict.fromkeys((4, 3, 2, 1), "images in it were removed")
    assert [path.name for path in (bench.published / "versions").iterdir()] == ["5.json"]
    assert {path.name for path in (bench.published / "parts").iterdir()} == {MODELS[3], "shared", "content"}
    assert bench.history.check() == []


def test_nothing_published_is_nothing_to_do(tmp_path):
    assert Bench(tmp_path).history.prune(3, None) == {}

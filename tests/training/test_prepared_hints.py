"""Stage train with hints of a prepared folder: which of them train, and that without them all is as ever."""

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.hints import DIFFERENT, SAME
from pipeline.core.layout import Layout
from pipeline.datasets.store.hints import PreparedHints, no_hints, write_prepared_hints
from pipeline.model.checkpoint import weights_path
from pipeline.training import health, initialise, train
from pipeline.training.prepared_hints import with_hints
from tests.model.builders import TINY
from tests.training.builders import INIT, TRAIN, Killed, phase, training_images
from tests.training.prepared import prepare

SEEDS = (0, 1)
SHORT = replace(TRAIN, phases=(phase(1), phase(2, 0.5)), checkpoint_seconds=1e-9)
train_module = import_module("pipeline.training.train")


def hints_of(
    rows=(0, 1, 2, 3, 8, 9, 10, 11), labels=(0, 0, 1, 1, 0, 0, 1, 1), facets=(1,), aside=(), test=(), pairs=()
) -> PreparedHints:
    """Labels of images in some facets; the places of those kept aside, and of those in the test split."""
    table = [(image, facet, label) for image, label in enumerate(labels) for facet in facets]
    is_test = np.isin(np.arange(len(rows)), test)
    return PreparedHints(
        rows=np.array(rows),
        is_test=is_test,
        is_aside=is_test | np.isin(np.arange(len(rows)), aside),
        labels=np.array(table, np.int64).reshape(-1, 3),
        pairs=np.array(pairs, np.int64).reshape(-1, 4),
    )


def hinted(prepared, model=TINY):
    return with_hints(training_images(), prepared, model, Path("hints"))


def test_hinted_images_train_even_where_they_were_held_out():
    images = hinted(hints_of(aside=(1, 5)))
    assert images.hints is not None
    assert images.hints.rows.tolist() == [0, 2, 3, 8, 10, 11]
    assert images.train_rows.tolist() == [0, 2, *range(3, 24)]  # rows 0 to 3 were held out
    assert images.validation_rows.tolist() == [1]
    chunklets, relations = images.hints.chunklets[1], images.hints.relations[1]
    known = relations[chunklets[:, None], chunklets[None, :]]
    of_label = np.array([0, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(known, np.where(of_label[:, None] == of_label, SAME, DIFFERENT))
    assert images.hints.facets() == [1]


def test_rows_of_the_test_split_are_no_rows_of_the_training_split():
    images = hinted(hints_of(test=(4, 5, 6, 7)))
    assert images.hints is not None
    assert images.hints.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("prepared", [no_hints(), hints_of(aside=range(8)), hints_of(test=range(8))])
def test_where_nothing_is_left_to_train_with_the_split_stays_as_it_is(prepared):
    images, plain = hinted(prepared), training_images()
    assert images.hints is None
    assert images.train_rows.tolist() == plain.train_rows.tolist()


def test_pairs_train_where_both_images_do():
    pairs = [(0, 1, 0, 1), (0, 2, 0, 0), (3, 4, 0, 1)]
    images = hinted(hints_of((5, 6, 7, 8, 9), labels=(), aside=(4,), pairs=pairs))
    assert images.hints is not None
    assert images.hints.rows.tolist() == [5, 6, 7]
    assert images.hints.facets() == [0]


@pytest.mark.parametrize(
    ("facets", "n_components", "message"),
    [
        (
            (1, 2),
            (4, 3),
            r"facets of at least two components, 0 … 1, but those of 8 images are about facet 2, which does",
        ),
        ((1,), (4, 1), r"those of 8 images are about facet 1, which has one component; correct them, or model\.n_comp"),
    ],
)
def test_facets_that_cannot_follow_hints_are_refused(facets, n_components, message):
    with pytest.raises(ConfigError, match=message):
        hinted(hints_of(facets=facets), replace(TINY, n_components=n_components))


def test_contradictions_and_too_many_sets_are_refused(tmp_path):
    with pytest.raises(DataError, match="hints must not contradict each other"):
        hinted(hints_of(pairs=[(0, 2, 1, 1)]))
    rows = np.arange(10_000)
    pairs = np.stack([rows[::2], rows[1::2], np.zeros(5000, int), np.ones(5000, int)], 1)
    with pytest.raises(DataError, match=r"facet 0 must leave at most 4096 sets of images .* got 5000; give fewer"):
        with_hints(training_images(n=10_000), hints_of(rows, labels=(), pairs=pairs), TINY, tmp_path)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("root"), "tiny")
    prepare(layout)
    initialise(layout, SEEDS, TINY, INIT, "cpu")
    return layout


@pytest.fixture
def copies(initialised, tmp_path, monkeypatch):
    """Make copies of the experiment before stage train, by name."""
    monkeypatch.setattr(health, "_ACTIVE_RATIO", 0.0)

    def copy(name, prepared=None):
        layout = Layout(tmp_path / name, "tiny")
        shutil.copytree(initialised.root, layout.root)
        if prepared is not None:
            write_prepared_hints(layout.prepared, prepared)
        return layout

    return copy


def files_of(layout):
    return {path.name: path.read_bytes() for path in layout.artifact("model").iterdir()}


RESIDUAL = replace(TINY, family="residual", likelihood="standardised", n_components=(3, 2))


def started(layout, model, **init):
    """Return the file of a seed's start."""
    initialise(layout, (0,), model, replace(INIT, **init), "cpu")
    return weights_path(layout.artifact("init"), 0).read_bytes()


def test_a_ladder_over_directions_begins_with_hints_and_no_other_does(copies):
    plain, told, aside = copies("plain"), copies("told", hints_of()), copies("aside", hints_of(aside=range(8)))
    before = started(plain, RESIDUAL)
    assert started(told, RESIDUAL) != before
    assert started(aside, RESIDUAL) == before  # what is kept aside tells nothing
    assert started(told, TINY) == started(plain, TINY)


def test_hinted_images_count_wherever_a_subsample_leaves_them_out(copies):
    told, otherwise = copies("told", hints_of()), copies("otherwise", hints_of(labels=(0, 1, 0, 1, 0, 1, 0, 1)))
    assert started(told, RESIDUAL, subsample=6) != started(otherwise, RESIDUAL, subsample=6)


@pytest.mark.no_shapes
def test_without_hints_to_train_with_a_model_is_what_it_always_was(copies):
    plain, empty, aside = copies("plain"), copies("empty", no_hints()), copies("aside", hints_of(aside=range(8)))
    for layout in (plain, empty, aside):
        train(layout, SEEDS, TINY, SHORT)
    before = files_of(plain)
    assert files_of(empty) == before
    judged = files_of(aside)
    assert {name for name in judged if judged[name] != before[name]} == {"model.json"}
    description = json.loads(judged["model.json"])
    assert description.pop("hints") == [{"trained": 0, "kept_aside": 0}, {"trained": 0, "kept_aside": 8}]
    plain_description = json.loads(before["model.json"])
    assert plain_description.pop("hints") == [{"trained": 0, "kept_aside": 0}] * 2
    assert description == plain_description


@pytest.mark.no_shapes
def test_a_killed_training_with_hints_goes_on_bit_for_bit_and_with_other_hints_begins_anew(copies, monkeypatch):
    whole = copies("whole", hints_of(aside=(3,)))
    train(whole, SEEDS, TINY, SHORT)
    assert json.loads(files_of(whole)["model.json"])["hints"][1] == {"trained": 7, "kept_aside": 1}
    without = copies("without")
    train(without, SEEDS, TINY, SHORT)
    assert files_of(whole)["seed-0.safetensors"] != files_of(without)["seed-0.safetensors"]

    killed, saved = copies("killed", hints_of(aside=(3,))), train_module.save_resume
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "save_resume", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            train(killed, SEEDS, TINY, SHORT)
    assert saved is train_module.save_resume
    train(killed, SEEDS, TINY, SHORT)
    assert files_of(killed) == files_of(whole)

    work = copies("work", hints_of(aside=(3,)))
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "remove_resume", lambda _: None)
        train(work, SEEDS, TINY, SHORT)
    write_prepared_hints(work.prepared, hints_of(aside=(3, 4)))
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "remove_resume", lambda _: None)
        train(work, SEEDS, TINY, SHORT)
    assert len(list(work.work("", "").parent.glob("train-*"))) == 2
    assert files_of(work)["seed-0.safetensors"] != files_of(whole)["seed-0.safetensors"]

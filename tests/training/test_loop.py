"""A group of seeds from start to end: history, kills and resumes, seeds that fail alone."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.mixture import refit as refit_module
from pipeline.model import MultiFacetVae
from pipeline.training import schedule as schedule_module
from pipeline.training.health import held_out_clusters, mean_bound
from tests.model.builders import CONVOLUTIONAL, TINY, with_facets
from tests.training.builders import (
    TRAIN,
    Bar,
    Killed,
    assert_same_state,
    group_training,
    kill,
    phase,
    training_images,
)

pytestmark = pytest.mark.no_shapes  # those of the engine and its steps check them

EACH_LEG = replace(TRAIN, checkpoint_seconds=1e-9)
WITH_REFIT = replace(EACH_LEG, phases=(phase(2, refit_at=1.0), phase(2, 0.5)))

THREE_PHASES = (phase(1, refit_at=1.0), phase(1, 0.5, refit_at=1.0), phase(1, 0.5))
SETTINGS: dict[str, Any] = {
    "two facets": {"train": WITH_REFIT, "seeds": (0, 1)},
    "three facets": {
        "train": replace(EACH_LEG, phases=THREE_PHASES),
        "params": with_facets(3, replace(TINY, covariance=("full", "full"))),
        "seeds": (0, 1),
    },
}


@pytest.fixture(autouse=True)
def _few_starts(monkeypatch):
    monkeypatch.setattr(refit_module, "_N_STARTS", 2)


@pytest.fixture
def short_legs(monkeypatch):
    """Two chunks an epoch: of two steps and of one."""
    monkeypatch.setattr(schedule_module, "_MAX_CHUNK", 2)


def train_in_one_go(folder, **settings) -> Any:
    group, _ = group_training(folder, **settings)
    return group.run(Bar())


def assert_same_seeds(one, other):
    for a, b in zip(one, other, strict=True):
        assert_same_state(a.state, b.state)
        assert a.history == b.history
        assert torch.equal(a.clusters, b.clusters)
        assert a.outcome == b.outcome


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Returns what a run to the end gives, for settings that every test of this module takes with the same chunks."""

    @cache
    def train(key):
        return train_in_one_go(tmp_path_factory.mktemp("undisturbed"), **SETTINGS[key])

    return train


@pytest.mark.no_cover  # again and again what other tests cover
@pytest.mark.parametrize("killed_at", range(1, 9))
def test_killed_and_resumed_is_the_undisturbed_run_bit_for_bit(killed_at, short_legs, undisturbed, tmp_path):
    """At every chunk: within epochs, across the phase boundary, before and after the refit at its end.

    The file of chunk ``killed_at`` is not written yet when the kill comes, so the chunk runs twice.
    """
    settings = SETTINGS["two facets"]
    whole = undisturbed("two facets")
    group, _ = group_training(tmp_path, **settings)
    assert group.n_chunks == 8
    with pytest.raises(Killed):
        group.run(Bar(killed_at, kill))
    again, _ = group_training(tmp_path, **settings)
    bar = Bar()
    assert_same_seeds(again.run(bar), whole)
    assert bar.done == 8
    assert len(bar.notes) == 1 + 8 - (killed_at - 1)


@pytest.mark.no_cover  # again and again what other tests cover
@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_three_facets_are_resumed_across_each_phase_boundary_and_refit(killed_at, undisturbed, tmp_path):
    """A phase an epoch, the mixtures refitted at the end of the first two, two seeds, full covariances."""
    settings = SETTINGS["three facets"]
    whole = undisturbed("three facets")
    group, _ = group_training(tmp_path, **settings)
    assert group.n_chunks == 3
    with pytest.raises(Killed):
        group.run(Bar(killed_at, kill))
    assert_same_seeds(train_in_one_go(tmp_path, **settings), whole)


class KillAfter(Bar):
    """Kills after so many chunks of this life, not of the whole run."""

    def __init__(self, chunks, before=None):
        super().__init__()
        self._chunks, self._before = chunks, before or {}

    def advance(self, n=1, note=""):
        super().advance(n, note)
        self._before.get(self.done, lambda: None)()
        if len(self.notes) > self._chunks:
            raise Killed


@pytest.mark.no_cover  # again and again what other tests cover
def test_killed_again_and_again(short_legs, tmp_path):
    """A run that never lives longer than two chunks, of which one is kept, still ends, with the same bits."""
    settings = {"train": EACH_LEG, "params": CONVOLUTIONAL}
    whole = train_in_one_go(tmp_path / "whole", **settings)
    for life in range(9):
        group, _ = group_training(tmp_path, **settings)
        bar = KillAfter(2)
        with pytest.raises(Killed):
            group.run(bar)
        assert bar.done == life + 2
    assert_same_seeds(train_in_one_go(tmp_path, **settings), whole)


def test_without_a_checkpoint_a_killed_run_starts_anew_with_the_same_result(tmp_path):
    whole = train_in_one_go(tmp_path / "whole")
    group, _ = group_training(tmp_path)
    with pytest.raises(Killed):
        group.run(Bar(3, kill))
    assert not (tmp_path / "running.pt").exists()
    assert_same_seeds(train_in_one_go(tmp_path), whole)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no file"])
def test_a_damaged_resume_file_counts_as_none(damage, tmp_path):
    whole = train_in_one_go(tmp_path / "whole")
    group, _ = group_training(tmp_path, EACH_LEG)
    with pytest.raises(Killed):
        group.run(Bar(3, kill))
    path = tmp_path / "running.pt"
    path.write_bytes(damage(path.read_bytes()))
    assert_same_seeds(train_in_one_go(tmp_path, train=EACH_LEG), whole)


def test_history_has_a_row_an_epoch_and_split(tmp_path):
    zero, one = train_in_one_go(tmp_path, seeds=(0, 1))
    assert [(row["seed"], row["epoch"], row["phase"], row["split"]) for row in one.history] == [
        (1, epoch, int(epoch >= 2), split) for epoch in range(5) for split in ("train", "validation")
    ]
    assert all(np.isfinite([v for v in row.values() if not isinstance(v, str)]).all() for row in one.history)
    assert [epoch for epoch, clusters in enumerate(one.clusters[:, 0]) if (clusters == -1).all()] == [0, 1]
    assert (one.clusters[:, 1] >= 0).all()
    # The waiting facet's terms are 0, then they are not.
    assert [row["kl_0"] != 0 for row in zero.history] == [False] * 4 + [True] * 6
    assert zero.outcome.validation_elbo == zero.history[-1]["elbo"]
    assert (zero.outcome.epochs, zero.outcome.is_healthy) == (5, True)


def test_the_train_row_is_the_mean_over_the_epochs_steps(short_legs, tmp_path):
    """Whether its epoch had one chunk or two."""
    (cut,) = train_in_one_go(tmp_path / "cut")
    row = next(row for row in cut.history if row["split"] == "train")
    group, _ = group_training(tmp_path)
    records = [group._engine.run(chunk) for chunk in group._engine.schedule.chunks() if chunk.epoch == 0]
    mean = np.concatenate(records)[:, 0].mean(0)
    assert len(records) == 2
    assert row["log_px"] == pytest.approx(mean[0], rel=1e-12)
    assert row["elbo"] == pytest.approx(mean[0] - mean[1] - mean[2], rel=1e-12)


def test_training_improves_the_bound(tmp_path):
    (trained,) = train_in_one_go(tmp_path, train=replace(TRAIN, phases=(phase(15), phase(15, 0.5))))
    elbo = [row["elbo"] for row in trained.history if row["split"] == "validation"]
    assert elbo[-1] > elbo[0] + 0.3


def test_an_epoch_is_judged_after_the_refit_that_ends_it(tmp_path):
    """Bound and clusters are those of the weights that are kept."""
    images = training_images()
    (trained,) = train_in_one_go(tmp_path, train=replace(TRAIN, phases=(phase(2), phase(2, refit_at=1.0))))
    model: Any = MultiFacetVae(TINY, images.source.spec)
    model.load_state_dict({name: value[None] for name, value in trained.state.items()})
    (terms,) = mean_bound(model, images.some(images.validation_rows), 0, [1.0, 1.0], torch.float32)
    assert trained.outcome.validation_elbo == pytest.approx(terms[0] - terms[1:].sum(), rel=1e-6)
    clusters = held_out_clusters(model, images.watched.images)[0]
    assert torch.equal(trained.clusters[-1], clusters)


def test_without_held_out_images_the_training_bound_counts(tmp_path):
    (trained,) = train_in_one_go(tmp_path, images=training_images(n_validation=0))
    assert {row["split"] for row in trained.history} == {"train"}
    assert trained.outcome.validation_elbo == trained.history[-1]["elbo"]


def test_progress_names_the_bounds_terms(tmp_path):
    group, _ = group_training(tmp_path)
    bar = Bar()
    group.run(bar)
    assert bar.done == group.n_chunks == 5
    assert bar.notes[-1].startswith("epoch 5 of 5, ELBO -")
    assert "KL0" in bar.notes[-1]
    assert "KL1" in bar.notes[-1]


def spoil(model, index, value=float("nan"), name="network.output.weight"):
    def now():
        with torch.no_grad():
            dict(model.named_parameters())[name][index, 0, 0] = value

    return now


SPOILED = [
    ("network.output.weight", "log p(x | z)"),
    ("network.heads.1.weight", "log p(x | z)"),
    ("priors.1.means", "the KL terms of facet 1"),
]


@pytest.mark.no_shapes  # the engine's tests check them
@pytest.mark.parametrize(("name", "term"), SPOILED)
def test_a_non_finite_seed_stops_alone_and_says_where(name, term, tmp_path, monkeypatch):
    """The other seeds' bits are those of an undisturbed run, the failed one keeps its last good weights."""
    undisturbed = train_in_one_go(tmp_path / "whole", train=EACH_LEG, seeds=(0, 1, 2))
    two_legs, _ = group_training(tmp_path / "two", EACH_LEG, seeds=(0, 1, 2))
    with pytest.raises(Killed):
        two_legs.run(Bar(3, kill))
    good = torch.load(tmp_path / "two" / "running.pt", weights_only=True)["model"]

    group, model = group_training(tmp_path, EACH_LEG, seeds=(0, 1, 2))
    save = group._save
    # No checkpoint after chunk 3: the last good state is that of chunk 2, and the losses of chunk 4 show the failure.
    monkeypatch.setattr(group, "_save", lambda: group._course.next_chunk != 3 and save())
    trained = group.run(Bar(3, spoil(model, 1, name=name)))
    assert_same_seeds((trained[0], trained[2]), (undisturbed[0], undisturbed[2]))
    failed = trained[1]
    assert failed.outcome.reason == f"{term} was not finite in phase 1, step 9; kept the last good weights"
    assert (failed.outcome.is_healthy, failed.outcome.epochs, failed.outcome.facets) == (False, 3, ())
    assert_same_state(failed.state, {n: v[1] for n, v in good.items()})
    assert [row["epoch"] for row in failed.history if row["split"] == "train"] == [0, 1, 2]


def test_weights_found_spoiled_at_a_checkpoint_are_not_kept(tmp_path):
    group, model = group_training(tmp_path, EACH_LEG, seeds=(0, 1))
    failed = group.run(Bar(3, spoil(model, 1)))[1]
    assert failed.outcome.reason == "weights were not finite after phase 1, step 8; kept the last good ones"
    assert all(torch.isfinite(value).all() for value in failed.state.values())


def test_a_failure_survives_a_kill(tmp_path):
    settings = {"train": EACH_LEG, "seeds": (0, 1)}
    group, model = group_training(tmp_path / "whole", **settings)
    whole = group.run(Bar(2, spoil(model, 1)))
    group, model = group_training(tmp_path, **settings)
    with pytest.raises(Killed):
        group.run(KillAfter(4, {2: spoil(model, 1)}))
    again, _ = group_training(tmp_path, **settings)
    resumed = again.run(Bar())
    assert_same_seeds(resumed, whole)
    assert resumed[1].outcome.reason is not None


def test_when_every_seed_has_failed_training_stops(tmp_path):
    group, model = group_training(tmp_path)
    bar = Bar(1, spoil(model, 0))
    (failed,) = group.run(bar)
    assert bar.done == 2
    assert failed.outcome.reason.startswith("log p(x | z) was not finite in phase 0, step 3")


def test_a_failure_before_the_first_checkpoint_keeps_the_start_weights(tmp_path):
    group, model = group_training(tmp_path)
    start = {name: value[0].clone() for name, value in model.state_dict().items()}
    (failed,) = group.run(Bar(2, spoil(model, 0)))
    assert_same_state(failed.state, start)


def test_weights_spoiled_by_the_very_last_step_are_no_model(tmp_path):
    """No later loss would notice."""
    group, model = group_training(tmp_path, seeds=(0, 1))
    healthy, failed = group.run(Bar(5, spoil(model, 1)))
    assert healthy.outcome.is_healthy
    assert failed.outcome.reason == "weights were not finite after phase 1, step 14; kept the last good ones"
    assert all(torch.isfinite(value).all() for value in failed.state.values())


def test_a_collapsed_seed_is_not_healthy(tmp_path):
    """With a limit that no clustering meets, every seed counts as collapsed; its weights are kept all the same."""
    (trained,) = train_in_one_go(tmp_path, train=replace(TRAIN, min_entropy=1.0))
    assert trained.outcome.reason.startswith("facet ")
    assert "collapsed" in trained.outcome.reason
    assert trained.state.keys() == group_training(tmp_path)[1].state_dict().keys()
    assert TINY.n_facets == len(trained.outcome.facets) == 2

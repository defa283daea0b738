"""What the study of architectures trains."""

from dataclasses import asdict, replace

import pytest

from benchmarks.stability import refitted_alike
from pipeline.config import load_params
from pipeline.config.sections import PhaseParams
from pipeline.training.schedule import ProgressiveSchedule
from tests.repository import PROJECT

STUDIES = {
    19: ("mnist_fast", "mnist_together_fast", "mnist_shared_fast", "mnist_vade_fast"),
    40: ("digits_together", "digits_shared", "digits_vade"),
}


@pytest.mark.parametrize("epoch", STUDIES)
def test_all_architectures_are_refitted_once_in_the_same_epoch(epoch: int) -> None:
    experiments = {name: load_params(PROJECT).experiment(name) for name in STUDIES[epoch]}
    phases = {name: [asdict(phase) for phase in one.train.phases] for name, one in experiments.items()}
    for name, own in refitted_alike(phases, epoch).items():
        train = replace(experiments[name].train, phases=tuple(PhaseParams(**phase) for phase in own))
        chunks = ProgressiveSchedule(train, experiments[name].model.n_facets, 1000).chunks()
        assert [chunk.epoch + 1 for chunk in chunks if chunk.refits] == [epoch]
        assert [phase["epochs"] for phase in own] == [phase["epochs"] for phase in phases[name]]


def test_architectures_that_train_longer_than_others_are_refused() -> None:
    phases = {name: [{"epochs": n, "fade_in": 0.0, "refit_at": 1.0}] for name, n in (("a", 4), ("b", 5))}
    with pytest.raises(SystemExit, match="all must train as long"):
        refitted_alike(phases, 4)
    with pytest.raises(SystemExit, match="the refit must lie within"):
        refitted_alike({"a": phases["a"]}, 5)

"""From trained seeds to the one that an estimator keeps."""

import math
import warnings
from collections.abc import Mapping, Sequence

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.core.errors import ModelError
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import FrozenModel, MultiFacetVae
from pipeline.training import TrainedSeed, select_seed


def choose(trained: Sequence[TrainedSeed]) -> TrainedSeed:
    """Return the healthy seed whose clusters leave least doubt, else, with a warning, the best of the collapsed ones.

    Raises:
        ModelError: no seed gave a finite model.
    """
    outcomes = [one.outcome for one in trained]
    if any(outcome.is_healthy for outcome in outcomes):
        selected = select_seed(outcomes, 1)
    else:
        reasons = "; ".join(f"seed {outcome.seed}: {outcome.reason}" for outcome in outcomes)
        advice = "lower learning_rate or n_components, have fewer facets, or try another random_state"
        finite = [one for one in outcomes if one.validation_elbo is not None and math.isfinite(one.validation_elbo)]
        if not finite:
            raise ModelError(f"one of n_seeds must end with a finite model, got none ({reasons}); {advice}")
        warnings.warn(f"the best of collapsed models is kept ({reasons}); {advice}", ConvergenceWarning, stacklevel=3)
        selected = max(finite, key=lambda one: one.validation_elbo or -math.inf)
    return next(one for one in trained if one.outcome is selected)


def freeze(state: Mapping[str, Tensor], params: ModelParams, spec: InputSpec, version: str) -> FrozenModel:
    """Return a model for use.

    Args:
        state: of one seed, without the seed axis.
        params: what it was trained with.
        spec: what it takes.
        version: its name.
    """
    model = MultiFacetVae(params, spec)
    model.load_state_dict({name: value[None] for name, value in state.items()})
    # In double precision a row's result does not depend on the rows beside it.
    return FrozenModel(model.double(), version, torch.float64)

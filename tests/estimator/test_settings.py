"""An estimator's parameters become the sections that the stages read, under the same rules."""

import numpy as np
import pytest

from pipeline import MultiFacetClustering
from pipeline.estimator.settings import init_section, model_section, train_section


def sections(**parameters):
    values = MultiFacetClustering(**parameters).get_params()
    return model_section(values), train_section(values), init_section(values)


def test_one_phase_a_facet_and_the_last_mixtures_stay_as_trained():
    model, train, _ = sections(n_components=(4, 3, 2), latent_dims=(2, 2, 2), epochs=7, refit=True)
    assert model.n_facets == 3
    assert [(phase.epochs, phase.refit_at) for phase in train.phases] == [(7, 1.0), (7, 1.0), (7, 0.5)]


@pytest.mark.parametrize(
    ("family", "hidden"),
    [("dense", ((256,), (512,))), ("convolutional", ((32,), (64,))), ("shared", ((256, 512),))],
)
def test_open_widths_are_derived(family, hidden):
    assert sections(family=family)[0].hidden == hidden


def test_a_single_number_of_components_counts_for_every_facet():
    assert sections(n_components=np.int64(6), latent_dims=(2, 3, 4))[0].n_components == (6, 6, 6)


def test_a_single_covariance_counts_for_every_facet():
    assert sections(covariance="full")[0].covariance == ("full", "full")
    assert sections(covariance=["diagonal", "full"])[0].covariance == ("diagonal", "full")


def test_numpys_numbers_are_welcome():
    model, train, _ = sections(n_components=np.array([4, 3]), epochs=np.int64(3), sigma=np.float32(0.5))
    assert model.n_components == (4, 3)
    assert (model.sigma, train.phases[0].epochs) == (0.5, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": (4,)}, "one entry a facet"),
        ({"family": "ladder"}, "family must be one of dense, convolutional, residual, shared, got 'ladder'"),
        ({"epochs": 0}, "MultiFacetClustering.epochs must lie in"),
        ({"view_weight": -1.0}, "MultiFacetClustering.view_weight must lie in"),
        (
            {"ignores": (None, {"rotate": 200})},
            r"MultiFacetClustering.ignores\[1\].rotate must lie in \(0, 180\], got 200",
        ),
        ({"ignores": (None, {"turn": 20})}, r"ignores\[1\].turn is unknown \(value 20\); legal keys: mirrored, rotate"),
        ({"ignores": (None, {})}, r"ignores\[1\] must name some of mirrored, rotate, .*, got \{\}"),
        ({"hint_weight": 0.0}, "MultiFacetClustering.hint_weight must lie in"),
        ({"component_std": 1e-3}, "MultiFacetClustering.component_std must lie in"),
        ({"learning_rate": -1.0}, "learning_rate must lie in"),
        ({"hidden": ((8,),)}, "hidden needs 2 block"),
        ({"latent_dims": 5}, "latent_dims must be a list with one number a facet, got 5"),
        ({"sigma": "0.1"}, "MultiFacetClustering.sigma must be of type float, got '0.1'$"),
    ],
)
def test_a_broken_rule_is_a_value_error_that_names_it(parameters, message):
    with pytest.raises(ValueError, match=message):
        sections(**parameters)

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from pipeline.config.parse import parse
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ConfigError, ModelError
from pipeline.datasets.store.spec import InputSpec
from pipeline.mixture import learn_directions
from pipeline.mixture.directions import main_directions
from pipeline.model import FrozenModel, MultiFacetVae
from pipeline.model.likelihoods.base import make_likelihood
from pipeline.model.residual_directions import ResidualDirections
from tests.model.builders import TINY

FEATURES = replace(TINY, family="residual", likelihood="standardised", sigma=0.5, n_components=(3, 2))
N_NUMBERS = 12


def spec_of(n_numbers):
    return InputSpec("features", "float32", (1, 1, n_numbers), is_bounded=False)


def rows_of_two_properties(n_rows=400, n_numbers=N_NUMBERS, seed=0):
    """Two manners far apart; in other numbers three kinds; in the others noise as wide as the kinds."""
    generator = np.random.default_rng(seed)
    manner, kind = generator.integers(2, size=n_rows), generator.integers(3, size=n_rows)
    rows = 0.1 * generator.standard_normal((n_rows, n_numbers))
    rows[:, 0] += 10.0 * manner
    rows[:, 1:3] += np.array([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])[kind]
    rows[:, 3:] += generator.uniform(-1.2, 1.2, (n_rows, n_numbers - 3))
    return torch.from_numpy(rows.astype(np.float32)) + 20.0, manner, kind


def learned(rows, n_components=(3, 2)):
    directions = ResidualDirections(1, rows.shape[1], n_components, (15,) * len(n_components)).double()
    learn_directions(directions, rows, 0, random_state=0)
    return directions


def explained(read, labels):
    """Return the part of the variance of what is read that lies between the classes, the best direction's."""
    means = np.stack([read[labels == c].mean(0) for c in np.unique(labels)])[labels]
    return float((means.var(0) / read.var(0).clip(1e-12)).max())


def test_the_standardised_density_against_scipy():
    generator = torch.Generator().manual_seed(0)
    mean, x = torch.randn(2, 4, 5, dtype=torch.float64, generator=generator), torch.randn(4, 5, dtype=torch.float64)
    log_variance = torch.randn(5, dtype=torch.float64, generator=generator)
    likelihood = make_likelihood(FEATURES, spec_of(5))
    raw = torch.cat([mean, log_variance.expand(2, 4, -1)], -1)
    expected = stats.norm.logpdf(x.numpy(), mean.numpy(), np.exp(0.5 * log_variance.numpy())).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, x.expand(2, -1, -1)), expected, rtol=1e-12)
    assert torch.equal(likelihood.mean(raw), mean)


def test_the_deepest_facet_reads_the_main_property_and_the_next_one_what_it_leaves():
    rows, manner, kind = rows_of_two_properties()
    shallow, deep = (read[0].numpy() for read in learned(rows)(rows.double()[None]))
    assert explained(deep, manner) > 0.99
    assert explained(shallow, manner) < 0.05
    assert explained(shallow, kind) > 0.9


def test_the_deepest_directions_are_those_of_a_discriminant_analysis_of_neighbourhoods():
    """Against scipy's generalised eigenvalues of the covariance over that of neighbours, both with their ridge."""
    rows, *_ = rows_of_two_properties()
    centred = rows.double().numpy() - rows.double().numpy().mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit.T), axis=1)[:, 1:11]
    differences = (centred[:, None] - centred[nearest]).reshape(-1, N_NUMBERS)
    of_neighbours, of_all = differences.T @ differences / (2 * len(differences)), np.cov(centred.T, bias=True)
    # The common covariance of one cluster is its own; a ridge is the mean variance.
    with_ridge = [of + np.eye(N_NUMBERS) * np.trace(of) / N_NUMBERS for of in (of_all, of_neighbours)]
    ratio = np.linalg.eigvals(np.linalg.solve(with_ridge[1], with_ridge[0])).real
    expected = np.sort(np.sqrt(1 - 1 / ratio.clip(1.001)))[::-1]
    directions = learned(rows)
    project = (directions.main[0] @ directions.get_buffer("project_1")[0]).numpy()
    scale = np.sqrt(np.diag(project.T @ with_ridge[1] @ project))
    np.testing.assert_allclose(scale, expected, rtol=1e-3)


def test_rows_come_back_from_what_is_read_but_for_directions_that_nobody_reads():
    rows, *_ = rows_of_two_properties()
    directions = learned(rows)
    np.testing.assert_allclose(directions.restore(directions(rows.double()[None]))[0], rows, atol=1e-3)


@pytest.mark.parametrize("n_rows", [8, 30])
def test_more_numbers_than_rows_and_constant_columns_stay_finite(n_rows):
    rows = torch.randn(n_rows, 60, generator=torch.Generator().manual_seed(0))
    rows[:, ::3] = 7.0
    directions = learned(rows)
    read = directions(rows.double()[None])
    assert all(bool(own.isfinite().all()) for own in read)
    assert directions.restore(read).isfinite().all()


@pytest.mark.parametrize("n_rows", [1, 5, 40])
def test_few_rows_are_encoded_in_bfloat16_too_and_lie_in_the_same_clusters(n_rows: int):
    """torch has no distances of 25 or fewer rows in that type."""
    rows, *_ = rows_of_two_properties()
    directions = learned(rows).float()
    low = rows[:n_rows].bfloat16()
    expected = directions(low.float()[None])
    for read, single in zip(directions(low[None]), expected, strict=True):
        assert read.dtype == torch.bfloat16
        assert torch.equal(read, single.bfloat16())


@pytest.mark.parametrize("n_rows", [15, 60])
def test_main_directions_are_those_of_scikit_learn(n_rows: int):
    rows = torch.randn(n_rows, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offset, main = main_directions(rows, 10)
    expected = PCA(10, svd_solver="full").fit(rows.numpy())
    np.testing.assert_allclose(offset, expected.mean_, atol=1e-12)
    np.testing.assert_allclose(np.abs(expected.components_ @ main.numpy()), np.eye(10), atol=1e-9)


def test_rows_that_are_all_the_same_are_refused():
    with pytest.raises(ModelError, match="rows of features must differ, got 5 rows that are all the same"):
        learned(torch.ones(5, 4))


def test_fewer_rows_than_components_are_refused():
    with pytest.raises(ModelError, match="as many training rows as components, got 2 rows for 3 components"):
        learned(torch.randn(2, 4))


@pytest.mark.parametrize("n_copies", [5, 20])  # with twenty, all of the ten nearest rows are copies
@pytest.mark.parametrize("n_distinct", [2, 3])
def test_few_distinct_rows_stay_finite(n_distinct: int, n_copies: int):
    rows = torch.randn(n_distinct, 6, generator=torch.Generator().manual_seed(0)).repeat(n_copies, 1)
    directions = learned(rows, n_components=(2, 4))
    assert all(bool(buffer.isfinite().all()) for buffer in directions.buffers())


def test_a_facet_that_waits_gives_the_mean_of_its_directions():
    model: Any = MultiFacetVae(FEATURES, spec_of(N_NUMBERS))  # tests look inside its modules
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    z = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1))
    raw = model.decode([z])
    widths = model.network.directions.widths
    assert raw.shape == (1, 6, 2 * sum(widths))
    assert not raw[..., : widths[0]].any()
    assert raw[..., widths[0] : sum(widths)].any()


@pytest.mark.parametrize("latent_dims", [(2, 3), (20, 20)], ids=["narrow", "wider than what is read"])
def test_a_linear_start_takes_directions_as_latents_and_gives_them_back(latent_dims):
    rows, *_ = rows_of_two_properties()
    model: Any = MultiFacetVae(replace(FEATURES, latent_dims=latent_dims), spec_of(N_NUMBERS))
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    learn_directions(model.network.directions, rows, 0, 0)
    model.network.start_linear()
    read = model.network.directions(rows[None])
    means = [qz.mean for qz in model.encode(rows[None, :, None, None])]
    n_read = model.network.directions.widths
    for mean, own, dim in zip(means, read, latent_dims, strict=True):
        assert torch.equal(mean[..., :N_NUMBERS], own[..., :dim])
        assert not mean[..., N_NUMBERS:].any()
    given_back = model.decode(means)[..., : sum(n_read)].split(n_read, -1)
    for back, own, dim in zip(given_back, read, latent_dims, strict=True):
        assert torch.equal(back[..., :dim], own[..., :dim])
        assert not back[..., dim:].any()


def test_decoded_rows_have_the_width_of_inputs():
    rows, *_ = rows_of_two_properties()
    model: Any = MultiFacetVae(FEATURES, spec_of(N_NUMBERS))  # tests look inside its modules
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    learn_directions(model.network.directions, rows, 0, 0)
    frozen = FrozenModel(model, "m-0")
    decoded = frozen.decode([qz.mean for qz in frozen.encode(rows[:5, None, None])])
    assert decoded.shape == (5, 1, 1, N_NUMBERS)
    assert decoded.isfinite().all()


def test_images_are_rows_too_and_come_back_as_pixels():
    """What is decoded lies in [0, 1], as pixels do."""
    spec = InputSpec.pixels((1, 3, 4))
    model: Any = MultiFacetVae(FEATURES, spec)
    images = torch.rand(50, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    learn_directions(model.network.directions, images.flatten(1), 0, 0)
    model.network.start_linear()
    frozen = FrozenModel(model, "m-0")
    decoded = frozen.decode([qz.mean for qz in frozen.encode((255 * images).byte())])
    assert decoded.shape == (50, 1, 3, 4)
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1
    # Three numbers a facet are all that is left of twelve: what comes back is the image's own rather than the mean.
    assert float((decoded - images).square().mean()) < float((images - images.mean(0)).square().mean())


@pytest.mark.parametrize("change", [{"family": "dense"}, {"likelihood": "gaussian"}])
def test_ladder_and_likelihood_go_together(change):
    with pytest.raises(ConfigError, match="family residual and likelihood standardised go together, got"):
        parse(ModelParams, {**asdict(FEATURES), **change}, "model")

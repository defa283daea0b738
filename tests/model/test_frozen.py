from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError
from pipeline.core.groups import groups_of_components, write_groups
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import FrozenModel, MultiFacetVae
from tests import oracles
from tests.model.builders import CONV_SHAPE, CONVOLUTIONAL, SHAPE, SPEC, TINY, random_images, random_model
from tests.tables.builders import model_groups

IMAGES = (random_images(n=7)[0] * 255).byte()


@pytest.fixture(scope="module")
def frozen():
    return FrozenModel(random_model(dtype=torch.float32), "m-0123456789ab")


@pytest.fixture(scope="module")
def precise():
    return FrozenModel(random_model(), "m-0123456789ab", torch.float64)


def mixture_of(frozen, facet):
    view = frozen.mixture(facet)
    return view.weights, view.means, view.covariances


def test_one_model_only():
    with pytest.raises(ValueError, match="a frozen model holds one seed, got 2"):
        FrozenModel(random_model(n_seeds=2), "m-0123456789ab")


def test_images_of_another_shape(frozen):
    with pytest.raises(ValueError, match=r"images must have shape \(n, \(1, 3, 4\)\), got \(7, 1, 4, 3\)"):
        frozen.encode(IMAGES.mT)


def test_facts(frozen):
    assert (frozen.n_facets, frozen.spec, frozen.params) == (2, SPEC, TINY)
    assert frozen.device == torch.device("cpu")
    assert frozen.to(torch.device("cpu")) is frozen


def test_nothing_asks_for_gradients_and_batch_norm_uses_running_statistics():
    model = random_model(CONVOLUTIONAL, dtype=torch.float32).train()
    frozen = FrozenModel(model, "m-0123456789ab")
    images = torch.randint(0, 256, (6, *CONV_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole, one = frozen.encode(images)[0].mean, frozen.encode(images[:1])[0].mean
    torch.testing.assert_close(whole[:1], one)
    assert not whole.requires_grad


@pytest.mark.parametrize("facet", [0, 1])
def test_assigners(precise, facet):
    qz = precise.encode(IMAGES)[facet]
    mixture = mixture_of(precise, facet)
    mean = oracles.log_resp(qz.mean.numpy(), *mixture)
    np.testing.assert_allclose(precise.log_resp(facet, qz, "mean"), mean, rtol=1e-8, atol=1e-14)
    rng = np.random.default_rng(0)
    estimate, error = oracles.component_posterior_by_sampling(
        qz.mean[0].numpy(), qz.variance[0].numpy(), *mixture, 100_000, rng
    )
    exact = precise.log_resp(facet, qz)[0].numpy()
    np.testing.assert_array_less(np.abs((exact - exact[0]) - (estimate - estimate[0]))[1:], 5 * error[1:])


def test_what_is_evaluated_together_is_what_it_is_alone(frozen):
    for facet, qz in enumerate(frozen.encode(IMAGES)):
        exact, at_mean, typicality = frozen.evaluate(facet, qz)
        torch.testing.assert_close(typicality, frozen.typicality(facet, qz.mean))
        assert torch.equal(exact, frozen.log_resp(facet, qz, "exact"))
        assert torch.equal(at_mean, frozen.log_resp(facet, qz, "mean"))


def test_typicality_is_the_density_under_the_whole_mixture(precise):
    z = precise.encode(IMAGES)[1].mean
    np.testing.assert_allclose(
        precise.typicality(1, z), oracles.log_mixture(z.numpy(), *mixture_of(precise, 1)), rtol=1e-8
    )


@pytest.mark.parametrize("assigner", ["exact", "mean"])
def test_assignments_are_read_off_the_responsibilities(frozen, assigner):
    for facet, (assignment, qz) in enumerate(
        zip(frozen.assign(IMAGES, assigner, True), frozen.encode(IMAGES), strict=True)
    ):
        resp = frozen.log_resp(facet, qz, assigner).exp().numpy()
        order = np.argsort(-resp, axis=1)
        rows = np.arange(len(resp))
        np.testing.assert_array_equal(assignment.cluster_id, order[:, 0])
        np.testing.assert_array_equal(assignment.runner_up, order[:, 1])
        np.testing.assert_array_equal(assignment.confidence, resp[rows, order[:, 0]])
        np.testing.assert_array_equal(assignment.runner_up_confidence, resp[rows, order[:, 1]])
        np.testing.assert_array_equal(assignment.resp, resp)
        entropy = -(resp * np.log(np.maximum(resp, 1e-30))).sum(1)
        np.testing.assert_allclose(assignment.entropy, entropy, rtol=1e-4, atol=1e-6)
        # Read off the log-joint of the responsibilities, not computed anew.
        np.testing.assert_allclose(assignment.typicality, frozen.typicality(facet, qz.mean), rtol=1e-6)
    assert frozen.assign(IMAGES)[0].resp is None


def test_a_facet_of_one_component_has_no_runner_up():
    params = replace(TINY, n_components=(1, 3))
    assignment = FrozenModel(random_model(params, dtype=torch.float32), "m-0123456789ab").assign(IMAGES)[0]
    assert set(assignment.runner_up) == {-1}
    assert set(assignment.runner_up_confidence) == {0.0}
    assert set(assignment.entropy) == {0.0}
    assert set(assignment.confidence) == {1.0}


def test_mixture_view_and_decode(precise):
    model = precise.vae
    weights, means, covariances = mixture_of(precise, 0)
    np.testing.assert_allclose(weights, model.prior(0).mixing_logits[0].softmax(-1), rtol=1e-12)
    np.testing.assert_array_equal(means, model.prior(0).means[0])
    np.testing.assert_array_equal(covariances, model.prior(0).covariance.matrices()[0])
    z = [qz.mean for qz in precise.encode(IMAGES)]
    expected = torch.sigmoid(model.decode([one[None] for one in z])[0]).reshape(7, *SHAPE)
    torch.testing.assert_close(precise.decode(z), expected, rtol=1e-12, atol=0)


class _Spy(FrozenModel):
    """Keeps the latents instead of the images."""

    def decode(self, latents):
        self.latents = [z.double().numpy() for z in latents]
        return super().decode(latents)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_samples_follow_the_component_and_the_other_facets_their_mixtures(temperature):
    """First two moments within five standard errors."""
    n, component = 40_000, 2
    spy = _Spy(random_model(dtype=torch.float32), "m-0123456789ab")
    pixels = spy.sample(1, component, n, temperature, torch.Generator().manual_seed(0))
    assert pixels.shape == (n, *SHAPE)
    view = spy.mixture(1)
    moments = [(view.means[component], temperature * view.covariances[component])]
    other = spy.mixture(0)
    mean = other.weights @ other.means
    spread = other.means - mean
    within = temperature * (other.weights[:, None, None] * other.covariances).sum(0)
    moments.append((mean, within + (other.weights[:, None] * spread).T @ spread))
    for z, (mean, covariance) in zip(reversed(spy.latents), moments, strict=True):
        error = np.sqrt(np.diagonal(covariance) / n)
        np.testing.assert_array_less(np.abs(z.mean(0) - mean), 5 * error)
        np.testing.assert_allclose(np.cov(z.T), covariance, atol=8 * np.diagonal(covariance).max() / n**0.5)


def test_swap_exchanges_one_facet(frozen):
    a, b = IMAGES[:3], IMAGES[3:6]
    means_a, means_b = ([qz.mean for qz in frozen.encode(images)] for images in (a, b))
    first, second = frozen.swap(a, b, 0)
    assert torch.equal(first, frozen.decode([means_b[0], means_a[1]]))
    assert torch.equal(second, frozen.decode([means_a[0], means_b[1]]))
    assert not torch.equal(first, frozen.decode(means_a))


def test_a_swap_grid_takes_one_facet_from_the_column_and_the_others_from_the_row(precise):
    latents = [qz.mean for qz in precise.encode(IMAGES[:3])]
    grid = precise.swap_grid(latents, 1)
    assert grid.shape == (3, 3, *SHAPE)
    torch.testing.assert_close(grid[2, 0][None], precise.decode([latents[0][2:], latents[1][:1]]))
    torch.testing.assert_close(torch.stack([grid[i, i] for i in range(3)]), precise.decode(latents))


def test_what_is_decoded_lies_within_the_bounds_of_the_inputs_if_they_have_any():
    params = replace(TINY, likelihood="gaussian", output="linear")
    decoded = []
    for is_bounded in (True, False):
        model = MultiFacetVae(params, InputSpec("features", "float32", SHAPE, is_bounded=is_bounded))
        with torch.no_grad():
            for value in model.parameters():
                value.normal_(0, 1, generator=torch.Generator().manual_seed(0))
        decoded.append(FrozenModel(model, "m-0123456789ab").decode([torch.ones(4, d) for d in params.latent_dims]))
    within, anywhere = decoded
    assert float(anywhere.min()) < 0 < 1 < float(anywhere.max())
    assert torch.equal(within, anywhere.clamp(0, 1))


def test_features_are_taken_as_they_are(frozen):
    spec = InputSpec("features", "float32", SHAPE, is_bounded=True)
    twin = MultiFacetVae(TINY, spec)
    twin.load_state_dict(frozen.vae.state_dict())
    of_features, x = FrozenModel(twin, frozen.model_version), IMAGES.float() / 255
    for qz, of_floats in zip(frozen.encode(IMAGES), of_features.encode(x), strict=True):
        assert torch.equal(qz.mean, of_floats.mean)
    finer = torch.cat([x[:1], x[:1] + 1e-4])
    assert of_features.encode(finer)[0].mean.unique(dim=0).shape[0] == 2
    for model, inputs, kind in ((frozen, x, "uint8"), (of_features, IMAGES, "float32")):
        with pytest.raises(ValueError, match=f"inputs must be {kind}, as their spec says, got torch"):
            model.encode(inputs)


def test_the_confidence_of_a_group_sums_the_responsibilities_of_its_components():
    groups = model_groups([[0, 1, 0, 1], [0, 0, 1]])
    model = random_model(dtype=torch.float32)
    frozen = FrozenModel(model, "m-0123456789ab", groups=groups)
    for found, of_facet in zip(frozen.assign(IMAGES, keep_resp=True), groups.facets, strict=True):
        group = np.array(of_facet.component_group)
        expected = [resp[group == group[c]].sum() for resp, c in zip(found.resp, found.cluster_id, strict=True)]
        np.testing.assert_allclose(found.group_confidence, expected, rtol=1e-6)
        assert (found.group_confidence >= found.confidence).all()
        assert (found.group_confidence <= 1).all()
    assert FrozenModel(model, "m-0123456789ab").assign(IMAGES)[0].group_confidence is None


def test_groups_of_other_components_are_refused(tmp_path):
    write_groups(tmp_path, model_groups([[0, 1, 0], [0, 0, 1]]))
    with pytest.raises(DataError, match=r"must give a group to \[4, 3\] components, got \[3, 3\]"):
        groups_of_components(tmp_path, (4, 3))

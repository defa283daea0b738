from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributions as td

from pipeline.model import DiagonalNormal
from pipeline.model.elbo import ElboTerms, facet_kl, facet_terms
from pipeline.model.mixture_prior import MixturePrior
from tests import oracles
from tests.model.builders import TINY, randomise_prior

ROUNDING = 1e-14  # of a log-probability next to 0
FORMS = ["logsumexp", "three-term", "five-term"]


@pytest.fixture(params=["diagonal", "full"])
def facet(request):
    """A prior, a posterior that asks for gradients, and noise for three samples."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return 0.5 * torch.randn(*shape, dtype=torch.float64, generator=generator)

    prior = MixturePrior(1, replace(TINY, covariance=(request.param,) * 2), 1, 0.1).double()
    randomise_prior(prior, generator)
    qz = DiagonalNormal(draw(1, 6, 3).requires_grad_(), (draw(1, 6, 3) - 1).requires_grad_())
    return prior, qz, 2 * draw(3, 1, 6, 3)


def arrays(prior, qz, noise):
    with torch.no_grad():
        return (
            qz.mean[0].numpy(),
            qz.log_variance[0].numpy(),
            noise[:, 0].numpy(),
            prior.mixing_logits[0].softmax(-1).numpy(),
            prior.means[0].numpy(),
            prior.covariance.matrices()[0].numpy(),
        )


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_five_terms_by_enumeration(facet, n_samples):
    """Eq. 58-60 for one and more samples."""
    prior, qz, noise = facet
    terms = facet_terms(prior, qz, noise[:n_samples])
    expected = oracles.facet_terms(*arrays(prior, qz, noise[:n_samples]))
    np.testing.assert_allclose(torch.stack(terms).detach()[:, 0], expected, rtol=1e-8, atol=ROUNDING)


def test_with_three_samples_the_objective_is_the_sum_of_its_terms(facet):
    prior, qz, noise = facet
    log_pz, log_pc, log_qz, log_qc = oracles.facet_terms(*arrays(prior, qz, noise))
    np.testing.assert_allclose(facet_kl(prior, qz, noise).detach()[0], log_qz - log_pz + log_qc - log_pc, rtol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_three_forms_of_the_objective_agree_in_value_and_gradient(facet, form):
    """At L = 1 the paper's primary and alternate losses and the logsumexp form are one function."""
    prior, qz, noise = facet
    parameters = [qz.mean, qz.log_variance, *prior.parameters()]
    ours = facet_kl(prior, qz, noise[:1])
    gradients = torch.autograd.grad(ours.sum(), parameters)

    reference = td.Normal(qz.mean[0], (qz.log_variance[0] / 2).exp())
    p_given_c = oracles.normals(prior.means[0], prior.covariance.matrices()[0])
    theirs = oracles.torch_facet_kl(form, reference, noise[0, 0], prior.mixing_logits[0], p_given_c)
    torch.testing.assert_close(ours[0], theirs, rtol=1e-8, atol=0)
    for mine, other in zip(gradients, torch.autograd.grad(theirs.sum(), parameters), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_gradient_of_the_five_terms_at_one_sample_is_that_of_the_objective(facet):
    prior, qz, noise = facet
    parameters = [qz.mean, qz.log_variance, *prior.parameters()]
    log_pz, log_pc, log_qz, log_qc = facet_terms(prior, qz, noise[:1])
    five = torch.autograd.grad((log_qz - log_pz + log_qc - log_pc).sum(), parameters)
    for mine, other in zip(five, torch.autograd.grad(facet_kl(prior, qz, noise[:1]).sum(), parameters), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n_samples", [1, 2])
def test_gradients_against_finite_differences(facet, n_samples):
    prior, qz, noise = facet

    def kl(mean, log_variance, *_):
        return facet_kl(prior, DiagonalNormal(mean, log_variance), noise[:n_samples])

    assert torch.autograd.gradcheck(kl, (qz.mean, qz.log_variance, *prior.parameters()))


def test_the_record_adds_up():
    def column(value):
        return torch.full((1, 2), value, dtype=torch.float64)

    terms = ElboTerms(
        log_px=column(-10.0),
        log_pz=[column(-3.0), column(-5.0)],
        log_pc=[column(-2.0), column(-1.0)],
        log_qz=[column(4.0), column(6.0)],
        log_qc=[column(-0.5), column(-0.25)],
    )
    assert [kl[0, 0].item() for kl in terms.kl_z] == [7.0, 11.0]
    assert [kl[0, 0].item() for kl in terms.kl_c] == [1.5, 0.75]
    assert terms.elbo.tolist() == [[-30.25, -30.25]]

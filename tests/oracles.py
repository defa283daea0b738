"""The model's mathematics a second time, plainly: scipy, torch.distributions, enumeration. Imports nothing of ours.

Arrays have no seed axis. Names and shapes are the glossary's: means "component latent", covariances
"component latent latent", noise "sample batch latent".
"""

import numpy as np
import torch
from scipy import special, stats
from torch import distributions as td


def positive(raw):
    """Softplus with β = 10 plus the floor 1e-5, in float64."""
    return np.logaddexp(0.0, 10.0 * np.asarray(raw, np.float64)) / 10.0 + 1e-5


def log_normals(z, means, covariances):
    """Return log N(z; μ_c, Σ_c), batch × component."""
    columns = [stats.multivariate_normal(mean, cov).logpdf(z) for mean, cov in zip(means, covariances, strict=True)]
    return np.stack([np.atleast_1d(column) for column in columns], axis=1)


def log_resp(z, weights, means, covariances):
    """Return log p(c | z) by Bayes' rule, batch × component."""
    joint = log_normals(z, means, covariances) + np.log(weights)
    return joint - special.logsumexp(joint, axis=1, keepdims=True)


def log_mixture(z, weights, means, covariances):
    """Return log p(z), one number a row."""
    return special.logsumexp(log_normals(z, means, covariances), axis=1, b=np.asarray(weights))


def log_bernoulli(logits, x):
    """Return Σ x log p + (1 - x) log(1 - p) over the last axis."""
    return (x * special.log_expit(logits) + (1 - x) * special.log_expit(-logits)).sum(-1)


def log_gaussian(mean, x, sigma):
    """Return the log-density of independent pixels over the last axis."""
    return stats.norm.logpdf(x, mean, sigma).sum(-1)


def facet_terms(mean, log_variance, noise, weights, means, covariances):
    """Return (log_pz, log_pc, log_qz, log_qc) of eq. 58-60, image by image and component by component."""
    n_samples, n_images, _ = noise.shape
    std = np.exp(log_variance / 2)
    terms = np.zeros((4, n_images))
    for i in range(n_images):
        z = mean[i] + std[i] * noise[:, i]
        log_qz = np.mean([stats.norm.logpdf(z[s], mean[i], std[i]).sum() for s in range(n_samples)])
        given = log_normals(z, means, covariances)
        score = np.exp(log_resp(z, weights, means, covariances).mean(0))
        resp = score / score.sum()
        for c, q in enumerate(resp):
            terms[0, i] += q * given[:, c].mean()
            terms[1, i] += q * np.log(weights[c])
            terms[3, i] += special.xlogy(q, q)
        terms[2, i] = log_qz
    return terms


def component_posterior_by_sampling(mean, variance, weights, means, covariances, n_samples, rng):
    """Estimate E_q log p(c | z) (eq. 12) for one image by Monte Carlo.

    Returns:
        The estimate per component and the standard error of each difference from component 0. Differences are what
        the normalised posterior is made of.
    """
    z = mean + np.sqrt(variance) * rng.standard_normal((n_samples, len(mean)))
    scores = log_resp(z, weights, means, covariances)
    differences = scores - scores[:, :1]
    return scores.mean(0), differences.std(0, ddof=1) / np.sqrt(n_samples)


def normals(means, covariances):
    """Return torch's distribution p(z | c) over components; gradients flow through both arguments."""
    return td.MultivariateNormal(means, covariance_matrix=covariances)


def torch_facet_kl(form, qz, noise, mixing_logits, p_given_c):
    """Return KL_z + KL_c of one facet with one sample, in one of three forms that must be the same function.

    Args:
        form: ``logsumexp``, ``three-term`` (log q(z|x) - E log p(z|c) + KL(q(c|x) || p(c)), the KL as torch's own) or
            ``five-term`` (every expectation written out).
        qz: torch Normal with a batch of means.
        noise: batch × latent.
        mixing_logits: one number a component.
        p_given_c: from :func:`normals`.
    """
    z = qz.loc + qz.scale * noise
    log_qz = qz.log_prob(z).sum(-1)
    given = p_given_c.log_prob(z[:, None])
    prior = td.Categorical(logits=mixing_logits)
    joint = given + prior.logits
    if form == "logsumexp":
        return log_qz - torch.logsumexp(joint, -1)
    posterior = td.Categorical(logits=joint)
    expected_log_pz = (posterior.probs * given).sum(-1)
    if form == "three-term":
        return log_qz - expected_log_pz + td.kl_divergence(posterior, prior.expand(posterior.batch_shape))
    log_pc = (posterior.probs * prior.logits).sum(-1)
    log_qc = (posterior.probs * posterior.logits).sum(-1)
    return log_qz - expected_log_pz - log_pc + log_qc


def two_facet_dense_bound(state, x, noise, fade_in, rung_gate, pixel_distribution, kl_weight=1.0):
    """Return the bound of the dense ladder with one layer a block and two facets (table 4), per image.

    Args:
        state: parameters of one model by name, each a leaf to differentiate.
        x: batch × pixel.
        noise: per facet batch × latent.
        fade_in: two numbers.
        rung_gate: weight of facet 0's rung.
        pixel_distribution: the decoder's raw output to a torch distribution over pixels.
        kl_weight: weight of all KL terms.
    """

    def layer(name, h):
        return torch.nn.functional.linear(h, state[f"network.{name}.weight"], state[f"network.{name}.bias"])

    def block(name, h):
        return torch.relu(layer(f"{name}.layers.0", h))

    h0 = block("encoder_blocks.0", x)
    h1 = block("encoder_blocks.1", h0)
    latents, kls = [], []
    for j, h in enumerate((h0, h1)):
        mean, log_variance = layer(f"heads.{j}", h).chunk(2, -1)
        qz = td.Normal(mean, (log_variance / 2).exp())
        variance = torch.nn.functional.softplus(state[f"priors.{j}.covariance.raw_variance"], beta=10) + 1e-5
        p_given_c = normals(state[f"priors.{j}.means"], torch.diag_embed(variance))
        kls.append(torch_facet_kl("five-term", qz, noise[j], state[f"priors.{j}.mixing_logits"], p_given_c))
        latents.append(qz.loc + qz.scale * noise[j])
    upper = block("decoder_blocks.1", block("rungs.1", latents[1]))
    merged = upper + rung_gate * fade_in[0] * block("rungs.0", latents[0])
    raw = layer("output", block("mixers.0", merged))
    return pixel_distribution(raw).log_prob(x).sum(-1) - kl_weight * (fade_in[0] * kls[0] + fade_in[1] * kls[1])

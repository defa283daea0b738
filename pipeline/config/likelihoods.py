"""Every likelihood, one line each: its name in ``model.likelihood``, its class below ``pipeline.model.likelihoods``.

A plain table, so that parameters know all likelihoods without importing torch.
"""

LIKELIHOODS = {
    "bernoulli": "bernoulli.BernoulliLikelihood",
    "gaussian": "gaussian.GaussianLikelihood",
    "standardised": "standardised.StandardisedLikelihood",
}

"""One Gaussian mixture fitted by scikit-learn, with a regularisation that rises as far as the data need it."""

import threading
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from pipeline.errors import ModelError

_FITTING = threading.Lock()  # the filters of warnings belong to the whole process


@dataclass(frozen=True)
class FitSettings:
    """How a mixture is fitted.

    Attributes:
        covariance: form of the components' covariances.
        reg_covar: scikit-learn's floor, raised tenfold up to ``max_escalations`` times.
        max_escalations: how often.
        max_iter: EM steps of one start.
        n_init: starts; the likeliest is kept.
    """

    covariance: Literal["diagonal", "full"]
    reg_covar: float
    max_escalations: int
    max_iter: int
    n_init: int


@dataclass(frozen=True)
class FittedMixture:
    """A fitted mixture, and how the fit went."""

    weights: Float64[np.ndarray, " component"]
    means: Float64[np.ndarray, "component latent"]
    covariances: Float64[np.ndarray, "component latent latent"]
    reg_covar: float
    converged: bool


def fit_mixture(
    latents: Float64[np.ndarray, "image latent"],
    n_components: int,
    settings: FitSettings,
    random_state: int,
    facet: int,
) -> FittedMixture:
    """Fit one facet's mixture in float64.

    Raises:
        ModelError: fewer images than components, or no fit succeeded within the escalations.
    """
    # Imported when it is used: half of the start of a stage that fits nothing.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(latents) < n_components:
        raise ModelError(
            f"facet {facet} needs at least as many training images as components, got {len(latents)} images for "
            f"{n_components} components; lower model.n_components[{facet}] or add images"
        )
    reg_covar = settings.reg_covar
    for _ in range(settings.max_escalations + 1):
        mixture = GaussianMixture(
            n_components,
            covariance_type="diag" if settings.covariance == "diagonal" else "full",
            reg_covar=reg_covar,
            max_iter=settings.max_iter,
            n_init=settings.n_init,
            random_state=random_state,
        )
        try:
            with _FITTING, warnings.catch_warnings():
                # A fit that has not converged, or latents with few distinct points, still gives usable start values.
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(latents)
        except ValueError:
            reg_covar *= 10
        else:
            return _fitted(mixture, settings.covariance, reg_covar)
    raise ModelError(
        f"the mixture of facet {facet} must be fitted on the encoder's latents, but it failed even with "
        f"reg_covar {reg_covar / 10:g}; raise init_mog.reg_covar or look for constant images"
    )


def _fitted(mixture: Any, covariance: str, reg_covar: float) -> FittedMixture:
    covariances = np.asarray(mixture.covariances_)
    if covariance == "diagonal":
        covariances = np.stack([np.diag(row) for row in covariances])
    weights, means = np.asarray(mixture.weights_), np.asarray(mixture.means_)
    return FittedMixture(weights, means, covariances, reg_covar, bool(mixture.converged_))

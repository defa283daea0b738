"""One Gaussian mixture fitted from scikit-learn's k-means, with a regularisation that rises as the data need it."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int

from pipeline.core.errors import ModelError
from pipeline.mixture.expectation import ExpectationMaximisation, Optimum

_THREADS_A_FIT = 2  # on more, one fit hardly gets faster
_FEW = 20_000  # images of k-means


@dataclass(frozen=True)
class FitSettings:
    """How a mixture is fitted.

    Attributes:
        covariance: form of the components' covariances.
        reg_covar: added to every variance, raised tenfold up to ``max_escalations`` times.
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


def fits_at_once() -> int:
    """Return how many fits share the processor's threads well."""
    return max(1, torch.get_num_threads() // _THREADS_A_FIT)


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
    if len(latents) < n_components:
        raise ModelError(
            f"facet {facet} needs at least as many training images as components, got {len(latents)} images for "
            f"{n_components} components; lower n_components[{facet}] or add images"
        )
    reg_covar = settings.reg_covar
    for _ in range(settings.max_escalations + 1):
        try:
            best = _best_of_starts(latents, n_components, replace(settings, reg_covar=reg_covar), random_state)
        except ValueError:
            reg_covar *= 10
        else:
            found = best.components
            weights, means, covariances = found.weights.numpy(), found.means.numpy(), found.covariances.numpy()
            return FittedMixture(weights, means, covariances, reg_covar, best.converged)
    raise ModelError(
        f"the mixture of facet {facet} must be fitted on the encoder's latents, but it failed even with "
        f"{reg_covar / 10:g} added to all variances; look for constant images, or start from another seed"
    )


def _best_of_starts(latents: np.ndarray, n_components: int, settings: FitSettings, random_state: int) -> Optimum:
    fit = ExpectationMaximisation(torch.from_numpy(latents), settings.covariance, settings.reg_covar)
    generator = np.random.RandomState(random_state)  # one for all starts, as in scikit-learn's GaussianMixture
    starts = (torch.from_numpy(k_means(latents, n_components, generator)).long() for _ in range(settings.n_init))
    return max((fit.run(start, n_components, settings.max_iter) for start in starts), key=lambda found: found.bound)


def k_means(
    latents: np.ndarray, n_components: int, generator: np.random.RandomState, n_starts: int = 1
) -> Int[np.ndarray, " image"]:
    """Return the clusters of k-means, the best of some starts."""
    # Imported when it is used: half of the start of a stage that fits nothing.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    estimator = KMeans(n_components, n_init=n_starts, random_state=generator)  # pyright: ignore[reportArgumentType]
    # Torch's threads are this fit's; scikit-learn would take the whole processor for each of those at once. Few images
    # have one: steps of a millisecond gain nothing by a second one, and where the processor is busy they wait for it
    # at each step (528 s in place of 43 for the numbers of clusters of 600 images).
    n_threads = torch.get_num_threads() if len(latents) > _FEW else 1
    with _QUIET(), threadpool_limits(n_threads, "openmp"):
        return estimator.fit_predict(latents)


def spectral_clusters(
    latents: np.ndarray, n_components: int, n_neighbours: int, generator: np.random.RandomState, n_starts: int
) -> Int[np.ndarray, " image"]:
    """Return the clusters of k-means on the spectral embedding of the graph of nearest neighbours.

    Images belong together if many short paths lead from one to the other (Ng, Jordan and Weiss, 2001), however long
    and bent a cluster is.

    Args:
        latents: of at least two images; the search for neighbours takes the square of their number in time.
        n_components: clusters, and dimensions of the embedding.
        n_neighbours: that an image is connected with.
        generator: of start values.
        n_starts: of k-means.
    """
    from sklearn.manifold import spectral_embedding
    from sklearn.neighbors import kneighbors_graph

    nearest = kneighbors_graph(latents, min(n_neighbours, len(latents) - 1) + 1, include_self=True)
    n_dimensions = min(n_components, len(latents) - 1)
    with _QUIET():
        embedding = spectral_embedding(
            (nearest + nearest.T) / 2, n_components=n_dimensions, drop_first=False, random_state=generator
        )
    return k_means(embedding, n_components, generator, n_starts)


class _Quiet:
    """Ignores what still gives usable start values: that k-means finds few distinct points, or a graph is in pieces.

    The filters of warnings belong to the whole process: the first of several fits changes them, the last restores them.
    """

    def __init__(self) -> None:
        self._lock, self._filters, self._n_fits = threading.Lock(), warnings.catch_warnings(), 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        from sklearn.exceptions import ConvergenceWarning

        with self._lock:
            self._n_fits += 1
            if self._n_fits == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        try:
            yield
        finally:
            with self._lock:
                self._n_fits -= 1
                if self._n_fits == 0:
                    self._filters.__exit__(None, None, None)


_QUIET = _Quiet()

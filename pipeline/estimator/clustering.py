"""The estimator: parameters, scikit-learn's methods, and what only this model can do: sample and swap."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from pipeline.config.ladders import LADDERS
from pipeline.core.shapes import Inputs
from pipeline.estimator.hints import read_hints
from pipeline.estimator.pixels import PixelScale
from pipeline.estimator.saved import SaveMixin
from pipeline.estimator.selected import choose, freeze
from pipeline.estimator.settings import check_sizes, check_views, init_section, model_section, train_section
from pipeline.model import DiagonalNormal
from pipeline.training import train_in_memory
from pipeline.training.health import mean_bound

_BLOCK = 4096  # rows encoded at once
_IMAGE_AXES = (3, 4)  # of an array of images; everything else is rows of features


class MultiFacetClustering(SaveMixin, TransformerMixin, BaseEstimator):
    """Several clusterings of the same images at once: the Multi-Facet Clustering VAE.

    Facet 0 is the shallowest. Arrays of uint8 and of floats in [0, 1] are taken as they are, other numbers are scaled
    from the range of the whole training array (features of different units want a scaler of their own first), which a
    Bernoulli likelihood refuses. Images are held in eight bits, rows of features in single precision.

    The defaults suit a few thousand small images. With many more, lower ``epochs`` and raise ``batch_size``.

    Args:
        n_components: clusters of each facet; a single number counts for every facet.
        latent_dims: latent dimensions of each facet.
        hidden: widths (channels) of the layers of each backbone block, e.g. ``((256,), (512,))``; ``None`` derives one
            layer a block. A shared trunk has a single block.
        family: ``dense`` or ``convolutional`` ladder, one ``shared`` trunk, or for rows of features, as of a
            pretrained network, ``residual``, with ``likelihood="standardised"``: rows are then taken as they are, and
            mixtures start on the clusters of k-means (``component_std`` says nothing, ``refit=False`` suits few rows).
        covariance: ``diagonal`` or ``full`` components, of all facets or of each.
        likelihood: ``gaussian`` or ``bernoulli`` pixels, or ``standardised`` features.
        sigma: standard deviation of Gaussian pixels, in units of their range; of features, where learning it starts.
        epochs: of each phase; phases are one a facet: the deepest alone first, then one shallower facet more a phase.
        fade_in: part of a phase over which the newcomer's coefficient rises from 0 to 1.
        component_std: initial standard deviation of every component; a warning says where the latents start so wide
            that a larger one is needed.
        refit: fit the mixtures anew, with several starts, at the end of every phase, and halfway through the last.
        batch_size: images a step.
        learning_rate: of the network.
        mixture_rate: learning rate of the mixtures, as a multiple of the network's.
        n_seeds: models trained; the one whose clusters leave least doubt is kept, labels play no part.
        validation_fraction: of the images, held out for the bound.
        hint_weight: of the hints that :meth:`fit` is given, beside the bound.
        ignores: what each facet is trained not to see, e.g. ``(None, {"rotate": 15, "shift": 10})``: one entry a facet,
            amounts by name as ``train.ignores`` has them; ``None`` for nothing.
        view_weight: of the clusters of an image and of its view being alike.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: as usual in scikit-learn.
        verbose: whether progress is shown on standard error.

    Attributes:
        labels_: clusters of the training images, int64 "image facet".
        model_: the trained model.
        elbo_: its mean bound on the held-out images, nats an image; with ``validation_fraction=0`` the mean over the
            steps of the last epoch, on training images.
        history_: its course, a dictionary an epoch and split.
        outcomes_: how each seed ended.
        n_features_in_: numbers of one image.
    """

    n_features_in_: int  # set by scikit-learn's validation

    @no_type_check  # any value is stored, fit judges it: scikit-learn's rule
    def __init__(  # noqa: PLR0913 - scikit-learn takes every parameter by its own name
        self,
        n_components: int | Sequence[int] = (10, 10),
        latent_dims: Sequence[int] = (5, 5),
        *,
        hidden: Sequence[Sequence[int]] | None = None,
        family: str = "dense",
        covariance: Literal["diagonal", "full"] | Sequence[Literal["diagonal", "full"]] = "diagonal",
        likelihood: str = "gaussian",
        sigma: float = 0.1,
        epochs: int = 40,
        fade_in: float = 0.3,
        component_std: float = 0.1,
        refit: bool = True,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        mixture_rate: float = 10.0,
        n_seeds: int = 3,
        validation_fraction: float = 0.1,
        hint_weight: float = 50.0,
        ignores: Sequence[Mapping[str, float] | None] | None = None,
        view_weight: float = 0.0,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.latent_dims = latent_dims
        self.hidden = hidden
        self.family = family
        self.covariance = covariance
        self.likelihood = likelihood
        self.sigma = sigma
        self.epochs = epochs
        self.fade_in = fade_in
        self.component_std = component_std
        self.refit = refit
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.mixture_rate = mixture_rate
        self.n_seeds = n_seeds
        self.validation_fraction = validation_fraction
        self.hint_weight = hint_weight
        self.ignores = ignores
        self.view_weight = view_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        hints: Mapping[Any, Any] | None = None,
        pairs: Mapping[Any, Any] | None = None,
    ) -> "MultiFacetClustering":
        """Train on images, "image height width" or "image height width channel", or on rows of features.

        Hints decide which property a facet is about. They name no cluster: images with one label are to share a
        cluster, images with different ones are not. Those of images that are held out for the bound are not used.

        Args:
            X: the images.
            y: ignored.
            hints: by facet, an integer label of every image, -1 where it is unknown: a handful a class is enough.
            pairs: by facet, what is known of two images: (number of one, number of the other, whether they are the
                same).

        Raises:
            ValueError: a parameter, the array or a hint breaks a rule.
            ModelError: no seed gave a finite model.
        """
        array, sample_shape = self._validated(X, is_new=True)
        parameters = self.get_params()
        model, init, train = model_section(parameters), init_section(parameters), train_section(parameters)
        check_sizes(model, len(array), self.validation_fraction, sample_shape)
        known = read_hints(
            {} if hints is None else hints, {} if pairs is None else pairs, len(array), model.n_components
        )
        takes_rows = LADDERS[model.family].takes_rows
        self._pixels = (
            PixelScale.as_they_are(sample_shape) if takes_rows else PixelScale.of(array, sample_shape, model.likelihood)
        )
        images = self._pixels.inputs(array)
        spec = self._pixels.spec
        check_views(train, model.n_facets, spec)
        trained = train_in_memory(images, spec, self._seeds(), model, init, train, self.verbose, known)
        chosen = choose(trained)
        self.model_ = freeze(chosen.state, model, spec, f"seed-{chosen.outcome.seed}")
        self.elbo_, self.history_ = chosen.outcome.validation_elbo, chosen.history
        self.outcomes_ = tuple(one.outcome for one in trained)
        self.labels_ = self._labels(images)
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        *,
        hints: Mapping[Any, Any] | None = None,
        pairs: Mapping[Any, Any] | None = None,
    ) -> Int64[np.ndarray, "image facet"]:
        """Train as :meth:`fit` does and return :attr:`labels_`."""
        return self.fit(X, y, hints=hints, pairs=pairs).labels_

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean evidence lower bound of images (paper, eq. 58-60), nats an image; higher is better.

        One draw of the latents an image, the same ones in every call, as for :attr:`elbo_`. Searches over parameters
        maximise it on images held out. It compares what describes the same numbers: neither other values of ``sigma``
        nor other likelihoods, nor images with rows of features.

        Args:
            X: the images.
            y: ignored.
        """
        images = self._images(X)
        (terms,) = mean_bound(self.model_.vae, images, 0, [1.0] * self.model_.n_facets, torch.float64)
        return float(terms[0] - terms[1:].sum())

    def predict(self, X: Any) -> Int64[np.ndarray, "image facet"]:
        """Return the most probable component of every facet."""
        return self._labels(self._images(X))

    def predict_proba(self, X: Any) -> list[Float64[np.ndarray, "image _"]]:
        """Return q(c_j | x) of every facet: the closed form of the component posterior (paper, eq. 12)."""
        columns = self._each_facet(self._images(X), lambda j, qz: self.model_.log_resp(j, qz).exp())
        return [column.numpy() for column in columns]

    def transform(self, X: Any) -> Float64[np.ndarray, "image latent"]:
        """Return the posterior means of all facets side by side (see :meth:`get_feature_names_out`)."""
        return torch.cat(self._each_facet(self._images(X), lambda _, qz: qz.mean), dim=1).numpy()

    def get_feature_names_out(self, input_features: Any = None) -> Shaped[np.ndarray, " latent"]:
        """Return the names of the latents, e.g. ``facet0_latent3``; scikit-learn passes the input's names."""
        check_is_fitted(self)
        if input_features is not None and len(input_features) != self.n_features_in_:
            raise ValueError(
                f"input_features should have length equal to the number of features ({self.n_features_in_}), "
                f"got {len(input_features)}"
            )
        dims = self.model_.params.latent_dims
        return np.array([f"facet{j}_latent{d}" for j, dim in enumerate(dims) for d in range(dim)], dtype=object)

    def sample(
        self, facet: int, component: int, n_samples: int = 1, temperature: float = 1.0
    ) -> Shaped[np.ndarray, "image *sample"]:
        """Generate images of one cluster, in the shape and units of the training images.

        z_j ~ N(μ_c, τ Σ_c), the other facets from their whole mixtures (paper, figure 6).

        Raises:
            ValueError: there is no such facet or component, or a number is not positive.
        """
        self._check_facet(facet)
        n_components = self.model_.params.n_components[facet]
        if not 0 <= component < n_components:
            raise ValueError(f"component must lie in 0 … {n_components - 1} for facet {facet}, got {component}")
        if n_samples < 1 or not temperature > 0:
            raise ValueError(f"n_samples and temperature must be positive, got {n_samples} and {temperature}")
        generator = torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        return self._pixels.restored(self.model_.sample(facet, component, n_samples, temperature, generator))

    def swap(
        self, x1: Any, x2: Any, facet: int
    ) -> tuple[Shaped[np.ndarray, "image *sample"], Shaped[np.ndarray, "image *sample"]]:
        """Exchange one facet between images in pairs (paper, figure 5).

        Returns:
            The first images with that facet of the second ones, and the reverse, both decoded.

        Raises:
            ValueError: there is no such facet, or the arrays differ in length.
        """
        self._check_facet(facet)
        first, second = self._images(x1), self._images(x2)
        if len(first) != len(second):
            raise ValueError(f"x1 and x2 must have the same number of images, got {len(first)} and {len(second)}")
        one, other = self.model_.swap(first, second, facet)
        return self._pixels.restored(one), self._pixels.restored(other)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _validated(self, X: Any, is_new: bool) -> tuple[Shaped[np.ndarray, "image number"], tuple[int, ...]]:
        shape: tuple[int, ...] = tuple(X.shape) if hasattr(X, "shape") else np.asarray(X).shape
        if not is_new and shape[1:] != self._pixels.sample_shape and len(shape) > 1:
            expected = ", ".join(map(str, ("n", *self._pixels.sample_shape)))
            if len(shape) in _IMAGE_AXES or len(self._pixels.sample_shape) > 1:
                raise ValueError(f"X must have the shape of the training images, ({expected}), got {shape}")
        sample_shape = shape[1:]
        rows: Any = np.asarray(X).reshape(len(X), -1) if len(shape) in _IMAGE_AXES else X
        array: Any = validate_data(self, rows, reset=is_new, dtype="numeric", ensure_min_samples=2 if is_new else 1)
        return (array if array.dtype == np.uint8 else array.astype(np.float64)), sample_shape

    def _images(self, X: Any) -> Inputs:
        check_is_fitted(self)
        return self._pixels.inputs(self._validated(X, is_new=False)[0])

    def _each_facet(self, images: Tensor, of: Callable[[int, DiagonalNormal], Tensor]) -> list[Tensor]:
        blocks = [[of(j, qz) for j, qz in enumerate(self.model_.encode(block))] for block in images.split(_BLOCK)]
        return [torch.cat(parts) for parts in zip(*blocks, strict=True)]

    def _labels(self, images: Tensor) -> Int64[np.ndarray, "image facet"]:
        return torch.stack(self._each_facet(images, lambda j, qz: self.model_.log_resp(j, qz).argmax(1)), 1).numpy()

    def _check_facet(self, facet: int) -> None:
        check_is_fitted(self)
        if not 0 <= facet < self.model_.n_facets:
            raise ValueError(f"facet must lie in 0 … {self.model_.n_facets - 1}, got {facet}")

    def _seeds(self) -> list[int]:
        if not isinstance(self.n_seeds, Integral) or self.n_seeds < 1:
            raise ValueError(f"n_seeds must be a whole number from 1 on, got {self.n_seeds!r}")
        generator = check_random_state(self.random_state)
        return [int(generator.randint(2**31)) for _ in range(self.n_seeds)]

"""A trained model in evaluation mode, without the seed axis: encode, assign, decode, sample, swap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.model.checkpoint import restore_model
from pipeline.model.mfcvae import MultiFacetVae
from pipeline.model.posterior import DiagonalNormal
from pipeline.records import FacetAssignment
from pipeline.shapes import Images, Latents, Pixels

Assigner = Literal["exact", "mean", "sample"]


@dataclass(frozen=True)
class MixtureView:
    """One facet's mixture as arrays."""

    weights: Float64[np.ndarray, " component"]
    means: Float64[np.ndarray, "component latent"]
    covariances: Float64[np.ndarray, "component latent latent"]


class FrozenModel:
    """A single trained model; every method runs without gradients.

    Args:
        model: a model with a seed axis of length one.
        model_version: its published identity.
        precision: type of the network's products; mixtures always use float32.
    """

    def __init__(self, model: MultiFacetVae, model_version: str, precision: torch.dtype = torch.float32) -> None:
        if model.n_seeds != 1:
            raise ValueError(f"a frozen model holds one seed, got {model.n_seeds}")
        self._model = model.eval().requires_grad_(False)
        self.model_version = model_version
        self._precision = precision

    @property
    def params(self) -> ModelParams:
        """The model section it was trained with."""
        return self._model.params

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        return self._model.image_shape

    @property
    def n_facets(self) -> int:
        """How many clusterings it gives."""
        return self.params.n_facets

    @property
    def network(self) -> MultiFacetVae:
        """The model itself, with its seed axis of length one; not to be changed."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where its parameters live."""
        return self._model.prior(0).means.device

    def to(self, device: torch.device) -> "FrozenModel":
        """Move the parameters to a device and return the model itself."""
        self._model.to(device)
        return self

    @torch.no_grad()
    def encode(self, images: Images) -> list[DiagonalNormal]:
        """Return q(z_j | x) of every facet for uint8 images of the model's shape."""
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(f"images must have shape (n, {self.image_shape}), got {tuple(images.shape)}")
        x = images.to(self.device).to(self._precision) / 255
        return [DiagonalNormal(qz.mean[0], qz.log_variance[0]) for qz in self._model.encode(x[None])]

    @torch.no_grad()
    def log_resp(
        self, facet: int, qz: DiagonalNormal, assigner: Assigner = "exact", generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch component"]:
        """Return log q(c_j | x).

        Args:
            facet: which facet.
            qz: that facet's posterior.
            assigner: ``exact`` takes the expectation over q(z_j | x) in closed form (paper, eq. 12), ``mean`` the
                responsibilities at the posterior mean (the authors' program), ``sample`` those of one sample.
            generator: source of the sample.
        """
        prior = self._model.prior(facet)
        seeded = DiagonalNormal(qz.mean[None], qz.log_variance[None])
        if assigner == "exact":
            return prior.exact_log_resp(seeded)[0]
        if assigner == "mean":
            return prior.log_resp(seeded.mean)[0]
        noise = torch.randn(seeded.mean.shape, generator=generator, device=seeded.mean.device)
        return prior.log_resp(seeded.sample(noise))[0]

    @torch.no_grad()
    def typicality(self, facet: int, z: Latents) -> Float[Tensor, " batch"]:
        """Return log p(z_j) in nats: how usual a latent is under the facet's whole mixture."""
        return self._model.prior(facet).log_prob(z[None])[0]

    def assign(self, images: Images, assigner: Assigner = "exact", keep_resp: bool = False) -> list[FacetAssignment]:
        """Assign every image to a component of every facet.

        Args:
            images: uint8 images of the model's shape.
            assigner: see :meth:`log_resp`.
            keep_resp: also return all responsibilities.
        """
        posteriors = self.encode(images)
        return [
            self._assignment(self.log_resp(j, qz, assigner), self.typicality(j, qz.mean), keep_resp)
            for j, qz in enumerate(posteriors)
        ]

    def mixture(self, facet: int) -> MixtureView:
        """Return weights, means and covariances of one facet."""
        prior = self._model.prior(facet)
        parts = (prior.log_mixing_weights.exp(), prior.means, prior.covariance.matrices())
        return MixtureView(*(part[0].double().cpu().numpy() for part in parts))

    @torch.no_grad()
    def decode(self, latents: Sequence[Float[Tensor, "batch _"]]) -> Pixels:
        """Return the mode of p(x | z), in [0, 1]."""
        stacked = [z[None].to(self.device, self._precision) for z in latents]
        raw = self._model.decode(stacked)[0]
        return self._model.likelihood.mode(raw).unflatten(1, self.image_shape)

    def sample(
        self, facet: int, component: int, n_samples: int, temperature: float, generator: torch.Generator
    ) -> Pixels:
        """Generate images of one cluster: z_j ~ N(μ_c, τ Σ_c), the other facets from their whole mixtures (Fig. 6)."""
        latents = []
        for j in range(self.n_facets):
            weights = torch.from_numpy(self.mixture(j).weights)
            drawn = torch.multinomial(weights, n_samples, replacement=True, generator=generator)
            components = torch.full_like(drawn, component) if j == facet else drawn
            latents.append(self._draw(j, components, temperature, generator))
        return self.decode(latents)

    def swap(self, images_a: Images, images_b: Images, facet: int) -> tuple[Pixels, Pixels]:
        """Decode posterior means with one facet exchanged between two images (Fig. 5).

        Returns:
            The first images with that facet of the second, and the reverse.
        """
        means_a = [qz.mean for qz in self.encode(images_a)]
        means_b = [qz.mean for qz in self.encode(images_b)]
        means_a[facet], means_b[facet] = means_b[facet], means_a[facet]
        return self.decode(means_a), self.decode(means_b)

    def _draw(self, facet: int, components: Tensor, temperature: float, generator: torch.Generator) -> Latents:
        mixture = self.mixture(facet)
        factors = torch.from_numpy(np.linalg.cholesky(mixture.covariances) * temperature**0.5)[components]
        noise = torch.randn(factors.shape[:2], generator=generator, dtype=factors.dtype)
        return (torch.from_numpy(mixture.means)[components] + (factors @ noise[..., None])[..., 0]).float()

    @staticmethod
    def _assignment(log_resp: Tensor, typicality: Tensor, keep_resp: bool) -> FacetAssignment:
        resp = log_resp.exp()
        entropy = -(resp * log_resp.clamp_min(-1e4)).sum(-1)
        top, index = resp.topk(min(2, resp.shape[1]), dim=-1)
        has_second = resp.shape[1] > 1
        second = index[:, 1] if has_second else torch.full_like(index[:, 0], -1)
        second_confidence = top[:, 1] if has_second else torch.zeros_like(top[:, 0])
        return FacetAssignment(
            cluster_id=index[:, 0].cpu().numpy().astype(np.int32),
            confidence=top[:, 0].float().cpu().numpy(),
            entropy=entropy.float().cpu().numpy(),
            typicality=typicality.float().cpu().numpy(),
            runner_up=second.cpu().numpy().astype(np.int32),
            runner_up_confidence=second_confidence.float().cpu().numpy(),
            resp=resp.float().cpu().numpy() if keep_resp else None,
        )


def load_model(folder: Path, seed: int | None = None, precision: torch.dtype = torch.float32) -> FrozenModel:
    """Load a trained model from a model folder (output of stage train, or its published copy).

    Args:
        folder: holds ``model.json`` and one weights file a seed.
        seed: which seed; ``None`` takes the selected one.
        precision: type of the network's products.

    Raises:
        DataError: ``model.json`` is missing or no JSON.
        ModelError: wrong schema, unknown seed, damaged or foreign weights.
    """
    model, description = restore_model(folder, seed)
    version: Any = description["model_version"]
    return FrozenModel(
        model, version if seed in (None, description["selected_seed"]) else f"{version}/seed-{seed}", precision
    )

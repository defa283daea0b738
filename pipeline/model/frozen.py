"""A trained model in evaluation mode, without the seed axis: encode, assign, decode, sample, swap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.core.groups import ModelGroups, groups_of_components
from pipeline.core.records import FacetAssignment
from pipeline.core.shapes import Inputs, Latents, Pixels
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.checkpoint import restore_model
from pipeline.model.inputs import as_floats
from pipeline.model.mfcvae import MultiFacetVae
from pipeline.model.posterior import DiagonalNormal

Assigner = Literal["exact", "mean"]

_CLEAR = 0.05
"""Margin in nats between the two best components above which bfloat16 settles the case (benchmarks/assign.py)."""


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
        groups: of the components; None for a model of an earlier release, which formed none.
    """

    def __init__(
        self,
        model: MultiFacetVae,
        model_version: str,
        precision: torch.dtype = torch.float32,
        groups: ModelGroups | None = None,
    ) -> None:
        if model.n_seeds != 1:
            raise ValueError(f"a frozen model holds one seed, got {model.n_seeds}")
        self._model = model.eval().requires_grad_(False)
        self.model_version = model_version
        self._precision = precision
        self._groups = None if groups is None else [torch.tensor(of.component_group) for of in groups.facets]

    @property
    def params(self) -> ModelParams:
        """The model section it was trained with."""
        return self._model.params

    @property
    def spec(self) -> InputSpec:
        """What one input is."""
        return self._model.spec

    @property
    def n_facets(self) -> int:
        """How many clusterings it gives."""
        return self.params.n_facets

    @property
    def vae(self) -> MultiFacetVae:
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
    def encode(self, images: Inputs, precision: torch.dtype | None = None) -> list[DiagonalNormal]:
        """Return q(z_j | x) of every facet.

        Args:
            images: as the model's spec says, on any device.
            precision: type of the network's products, by default the model's.
        """
        if tuple(images.shape[1:]) != self.spec.shape:
            raise ValueError(f"images must have shape (n, {self.spec.shape}), got {tuple(images.shape)}")
        x = as_floats(self.spec, images.to(self.device), precision or self._precision)
        return [DiagonalNormal(qz.mean[0], qz.log_variance[0]) for qz in self._model.encode(x[None])]

    @torch.no_grad()
    def log_resp(
        self, facet: int, qz: DiagonalNormal, assigner: Assigner = "exact"
    ) -> Float[Tensor, "batch component"]:
        """Return log q(c_j | x).

        Args:
            facet: which facet.
            qz: that facet's posterior.
            assigner: ``exact`` takes the expectation over q(z_j | x) in closed form (paper, eq. 12), ``mean`` the
                responsibilities at the posterior mean (the authors' program).
        """
        prior = self._model.prior(facet)
        seeded = DiagonalNormal(qz.mean[None], qz.log_variance[None])
        return (prior.exact_log_resp(seeded) if assigner == "exact" else prior.log_resp(seeded.mean))[0]

    @torch.no_grad()
    def evaluate(
        self, facet: int, qz: DiagonalNormal
    ) -> tuple[Float[Tensor, "batch component"], Float[Tensor, "batch component"], Float[Tensor, " batch"]]:
        """Return :meth:`log_resp` for ``exact`` and for ``mean``, and :meth:`typicality` of the means.

        What all three need is computed once.
        """
        prior = self._model.prior(facet)
        log_joint = prior.log_joint(qz.mean[None])
        exact = prior.blurred_log_resp(log_joint, qz.variance[None])
        return exact[0], log_joint.log_softmax(-1)[0], log_joint.logsumexp(-1)[0]

    @torch.no_grad()
    def typicality(self, facet: int, z: Latents) -> Float[Tensor, " batch"]:
        """Return log p(z_j) in nats: how usual a latent is under the facet's whole mixture."""
        return self._model.prior(facet).log_prob(z[None])[0]

    @torch.no_grad()
    def assign(self, images: Inputs, assigner: Assigner = "exact", keep_resp: bool = False) -> list[FacetAssignment]:
        """Assign every image to a component of every facet.

        In low precision only clear cases are settled: an image whose two best components are close in some facet is
        encoded again in float32.

        Args:
            images: as the model's spec says.
            assigner: see :meth:`log_resp`.
            keep_resp: also return all responsibilities.
        """
        posteriors = self.encode(images)
        found = [self._evaluate(j, qz, assigner) for j, qz in enumerate(posteriors)]
        if self._precision.itemsize < torch.float32.itemsize:
            doubtful = torch.stack([_margin(log_resp) < _CLEAR for log_resp, _ in found]).any(0).nonzero()[:, 0]
            closer = self.encode(images.to(self.device)[doubtful], torch.float32)
            for j, qz in enumerate(closer):
                for whole, part in zip(found[j], self._evaluate(j, qz, assigner), strict=True):
                    whole[doubtful] = part
        return [self._assignment(j, *of_facet, keep_resp) for j, of_facet in enumerate(found)]

    def _evaluate(self, facet: int, qz: DiagonalNormal, assigner: Assigner) -> tuple[Tensor, Tensor]:
        """Return log-responsibilities and typicality; what both need is computed once."""
        prior = self._model.prior(facet)
        log_joint = prior.log_joint(qz.mean[None])
        if assigner == "exact":
            log_resp = prior.blurred_log_resp(log_joint, qz.variance[None])[0]
        else:
            log_resp = log_joint.log_softmax(-1)[0]
        return log_resp, log_joint.logsumexp(-1)[0]

    def mixture(self, facet: int) -> MixtureView:
        """Return weights, means and covariances of one facet."""
        prior = self._model.prior(facet)
        parts = (prior.log_mixing_weights.exp(), prior.means, prior.covariance.matrices())
        return MixtureView(*(part[0].double().cpu().numpy() for part in parts))

    @torch.no_grad()
    def decode(self, latents: Sequence[Float[Tensor, "batch _"]]) -> Pixels:
        """Return the mean of p(x | z), within the bounds of the inputs if they have any."""
        stacked = [z[None].to(self.device, self._precision) for z in latents]
        mean = self._model.likelihood.mean(self._model.decode(stacked))
        inputs = self._model.network.inputs(mean)[0].unflatten(1, self.spec.shape)
        # Of directions of pixels a likelihood does not know the bounds: they are those of what comes of them.
        return inputs.clamp(0.0, 1.0) if self.spec.is_bounded else inputs

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

    def swap(self, images_a: Inputs, images_b: Inputs, facet: int) -> tuple[Pixels, Pixels]:
        """Decode posterior means with one facet exchanged between two images (Fig. 5).

        Returns:
            The first images with that facet of the second, and the reverse.
        """
        means_a = [qz.mean for qz in self.encode(images_a)]
        means_b = [qz.mean for qz in self.encode(images_b)]
        means_a[facet], means_b[facet] = means_b[facet], means_a[facet]
        return self.decode(means_a), self.decode(means_b)

    def swap_grid(
        self, latents: Sequence[Float[Tensor, "image _"]], facet: int
    ) -> Float[Tensor, "kept exchanged channel height width"]:
        """Decode the latents of every image (row) with one facet taken from every image (column), as in Fig. 5.

        The diagonal holds the images' own reconstructions.
        """
        n_images = len(latents[facet])
        mixed = [
            z.repeat(n_images, 1) if j == facet else z.repeat_interleave(n_images, 0) for j, z in enumerate(latents)
        ]
        return self.decode(mixed).unflatten(0, (n_images, n_images))

    def _draw(self, facet: int, components: Tensor, temperature: float, generator: torch.Generator) -> Latents:
        mixture = self.mixture(facet)
        factors = torch.from_numpy(np.linalg.cholesky(mixture.covariances) * temperature**0.5)[components]
        noise = torch.randn(factors.shape[:2], generator=generator, dtype=factors.dtype)
        return (torch.from_numpy(mixture.means)[components] + (factors @ noise[..., None])[..., 0]).float()

    def _assignment(self, facet: int, log_resp: Tensor, typicality: Tensor, keep_resp: bool) -> FacetAssignment:
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
            group_confidence=self._group_confidence(facet, resp, index[:, 0]),
            resp=resp.float().cpu().numpy() if keep_resp else None,
        )

    def _group_confidence(self, facet: int, resp: Tensor, component: Tensor) -> Float32[np.ndarray, " image"] | None:
        if self._groups is None:
            return None
        group = self._groups[facet].to(resp.device)
        members = torch.nn.functional.one_hot(group).to(resp.dtype)
        shares = (resp @ members).gather(1, group[component][:, None])[:, 0]
        return shares.clamp_max(1.0).float().cpu().numpy()  # a sum of rounded parts may exceed the whole


def load_model(folder: Path, seed: int | None = None, precision: torch.dtype = torch.float32) -> FrozenModel:
    """Load a trained model from a model folder (output of stage train, or its published copy).

    Args:
        folder: holds ``model.json`` and one weights file a seed.
        seed: which seed; ``None`` takes the selected one.
        precision: type of the network's products.

    Raises:
        DataError: ``model.json`` or ``groups.json`` is missing or damaged.
        ModelError: unknown seed, damaged or foreign weights.
        ResourceError: a newer release wrote ``model.json``.
    """
    model, description = restore_model(folder, seed)
    version: Any = description["model_version"]
    if seed not in (None, description["selected_seed"]):  # only the selected one's components form groups
        return FrozenModel(model, f"{version}/seed-{seed}", precision)
    return FrozenModel(model, version, precision, groups_of_components(folder, model.params.n_components))


def _margin(log_resp: Float[Tensor, "batch component"]) -> Float[Tensor, " batch"]:
    """Return by how many nats the best component leads; infinite where there is only one."""
    if log_resp.shape[1] == 1:
        return torch.full_like(log_resp[:, 0], torch.inf)
    best = log_resp.topk(2, dim=-1).values
    return best[:, 0] - best[:, 1]

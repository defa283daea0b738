"""One training step, written once: executed eagerly or captured as a graph.

Everything a step reads lies in tensors of the training device, indexed by a position that the step itself moves on, so
that a captured graph is replayed without input from the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline import kernels
from pipeline.config.sections import TrainParams
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import as_floats
from pipeline.training import objective
from pipeline.training.adam import Adam
from pipeline.training.hint_term import HintTerm
from pipeline.training.images import AbstractImages
from pipeline.training.process_group import ALONE, ProcessGroup
from pipeline.training.replicas import Replicas
from pipeline.training.view_term import ViewTerm
from pipeline.training.views import FacetViews


@dataclass(frozen=True)
class ChunkBuffers:
    """What the steps of a chunk read and write; allocated once and refilled before each chunk.

    Attributes:
        position: the step about to run, counted within the chunk.
        index: images of every step.
        hinted: hinted images of every step, by their place among all of them.
        views: uniform random numbers of every step's views, the facets' side by side.
        noise: standard normal numbers, the facets' latents side by side.
        rate: learning rate of the network.
        kl_weight: weight of all KL terms.
        fade_in: coefficient of every facet.
        record: what every step measured: log p(x | z), then KL_z,j + KL_c,j of every facet, nats an image.
    """

    position: Int64[Tensor, " 1"]
    index: Int64[Tensor, "step seed batch"]
    hinted: Int64[Tensor, "step seed drawn"]
    views: Float[Tensor, "step seed batch number"]
    noise: Float[Tensor, "step sample seed batch latent"]
    rate: Float[Tensor, " step"]
    kl_weight: Float[Tensor, " step"]
    fade_in: Float[Tensor, "step facet"]
    record: Float[Tensor, "step seed term"]


def allocate_buffers(
    model: MultiFacetVae, n_steps: int, n_samples: int, batch_size: int, n_hinted: int = 0, n_view_numbers: int = 0
) -> ChunkBuffers:
    """Return buffers for chunks of at most ``n_steps`` steps, on the model's device and in its precision."""
    like = model.prior(0).means
    n_facets, n_seeds = model.params.n_facets, model.n_seeds
    return ChunkBuffers(
        position=torch.zeros(1, dtype=torch.int64, device=like.device),
        index=torch.zeros(n_steps, n_seeds, batch_size, dtype=torch.int64, device=like.device),
        hinted=torch.zeros(n_steps, n_seeds, n_hinted, dtype=torch.int64, device=like.device),
        views=like.new_zeros(n_steps, n_seeds, batch_size, n_view_numbers),
        noise=like.new_zeros(n_steps, n_samples, n_seeds, batch_size, sum(model.params.latent_dims)),
        rate=like.new_zeros(n_steps),
        kl_weight=like.new_zeros(n_steps),
        fade_in=like.new_zeros(n_steps, n_facets),
        record=like.new_zeros(n_steps, n_seeds, 1 + n_facets),
    )


def make_optimizer(model: MultiFacetVae, params: TrainParams, processes: ProcessGroup = ALONE) -> Adam:
    """Return Adam with two groups, the network and the mixtures, whose rates every step sets."""
    beta1, beta2 = params.betas
    return Adam([list(model.network.parameters()), model.mixture_parameters()], (beta1, beta2), processes.average)


@dataclass(frozen=True)
class Beside:
    """What the steps of a phase encode beside the images of a batch.

    Attributes:
        hints: their term in the loss, if there are any for the facets that take part.
        views: of the facets that ignore something, if any of them takes part.
        viewed: those that do.
        view_term: what views add to the loss, if anything.
    """

    hints: HintTerm | None = None
    views: FacetViews | None = None
    viewed: Sequence[int] = ()
    view_term: ViewTerm | None = None


class TrainingStep:
    """Forward, bound, backward and update for one batch of every seed.

    Args:
        replicas: all seeds' models, and how they are divided.
        optimizer: from :func:`make_optimizer`.
        images: where batches come from.
        buffers: what the steps read and write.
        first_facet: shallowest facet that takes part.
        mixture_rate: rate of the mixtures' parameters over the network's.
        precision: type of the network's products.
        beside: hinted images and views.
    """

    def __init__(
        self,
        replicas: Replicas,
        optimizer: Adam,
        images: AbstractImages,
        buffers: ChunkBuffers,
        first_facet: int,
        mixture_rate: float,
        precision: torch.dtype,
        beside: Beside | None = None,
    ) -> None:
        self._replicas, self._optimizer, self._images, self._buffers = replicas, optimizer, images, buffers
        self._first_facet, self._mixture_rate, self._precision = first_facet, mixture_rate, precision
        beside = beside or Beside()
        self._hints, self._views, self._viewed = beside.hints, beside.views, beside.viewed
        self._view_term = beside.view_term
        self._latent_dims = replicas.model.params.latent_dims
        # Along the encoded images: the batch, hinted ones, and the views of one facet after another.
        n_images, n_hinted = buffers.index.shape[-1], buffers.hinted.shape[-1] if self._hints else 0
        self._batch_part, self._hinted_part = slice(0, n_images), slice(n_images, n_images + n_hinted)
        starts = {facet: n_hinted + n_images * (1 + place) for place, facet in enumerate(self._viewed)}
        own_starts = [starts.get(facet, 0) for facet in range(first_facet, replicas.model.params.n_facets)]
        self._own_parts = [slice(start, start + n_images) for start in own_starts]

    def __call__(self) -> None:
        """Run the step at the buffers' position and move the position on."""
        at = self._buffers.position
        fade_in = self._buffers.fade_in.index_select(0, at)[0]
        weights = fade_in[self._first_facet :] * self._buffers.kl_weight.index_select(0, at)
        (x, low), noise = self._batch(at), self._noise(at)
        encoded = objective.encode(self._replicas, low, self._first_facet)
        is_batch_alone = self._hints is None and self._views is None
        posteriors = encoded if is_batch_alone else objective.part_of_each(encoded, self._own_parts)
        log_px, kls = objective.bound(self._replicas, x, posteriors, noise, fade_in, self._precision)
        loss = objective.loss(log_px, kls, weights)
        if self._hints is not None:
            hinted = objective.of_all_seeds(objective.part(encoded, self._hinted_part))
            loss = loss + self._hints(hinted, self._hinted(at), fade_in[self._first_facet :])
        if self._view_term is not None:
            seen = objective.of_all_seeds(objective.part(encoded, self._batch_part))
            loss = loss + self._view_term(seen, objective.of_all_seeds(posteriors))
        self._optimizer.zero_grad()
        self._replicas.zero_grad()
        self._set_rates(at)
        with self._optimizer.aside():
            self._record(at, log_px, kls)
        loss.backward()
        self._replicas.collect()
        self._optimizer.step()
        if not self._replicas.compute_weights:
            self._replicas.refresh()
        at.add_(1)

    def _batch(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch ("seed batch channel height width") for the likelihood; for the products, all to be encoded.

        One encoding takes hinted images and views, too: batch normalisation must see the images that the decoder's
        gradients come from, and all that are encoded must be normalised alike.
        """
        index = self._buffers.index.index_select(0, at)[0]
        if self._hints is None:
            x, low = self._inputs(index)
        else:
            x, low = self._inputs(torch.cat([index, self._hints.rows[self._hinted(at)]], 1))
            x = x[:, self._batch_part]
        if self._views is None:
            return x, low
        views = self._views.of_facets(self._viewed, x, self._buffers.views.index_select(0, at)[0])
        return x, torch.cat([low, *(view.to(low.dtype) for view in views)], 1)

    def _inputs(self, index: Int64[Tensor, "seed image"]) -> tuple[Tensor, Tensor]:
        images = self._images.gather(index.flatten()).unflatten(0, index.shape)
        spec = self._images.spec
        if spec.kind == "pixels" and kernels.run_on(self._buffers.noise):
            from pipeline.kernels import pixels

            return pixels.scale(images, self._precision)
        x = as_floats(spec, images, self._buffers.noise.dtype)
        return x, x.to(self._precision)

    def _hinted(self, at: Tensor) -> Int64[Tensor, "seed drawn"]:
        return self._buffers.hinted.index_select(0, at)[0]

    def _noise(self, at: Tensor) -> list[Float[Tensor, "sample seed batch _"]]:
        noise = self._buffers.noise.index_select(0, at)[0]
        return list(noise.split(self._latent_dims, dim=-1))[self._first_facet :]

    def _set_rates(self, at: Tensor) -> None:
        rate = self._buffers.rate.index_select(0, at)[0]
        network, mixture = self._optimizer.rates
        network.copy_(rate)
        torch.mul(rate, self._mixture_rate, out=mixture)

    @torch.no_grad()
    def _record(self, at: Tensor, log_px: Tensor, kls: list[Tensor]) -> None:
        waiting = [torch.zeros_like(log_px)] * self._first_facet
        terms = torch.stack([log_px, *waiting, *kls], -1).mean(1)
        self._buffers.record.index_copy_(0, at, terms[None])

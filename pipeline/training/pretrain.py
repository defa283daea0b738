"""Stacked denoising autoencoder before the mixture's start: VaDE's pretraining (paper, appendix D.5).

First stage: from the pixels inwards, each pair of an encoder's layer and its mirror in the decoder learns to give back,
from a corrupted copy, what the trained, frozen layers below hand to it. Second stage: all layers together give back the
image. No sampling and no prior take part. Pixels are scored by the model's own likelihood, hidden values by least
squares.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import PretrainParams
from pipeline.core.errors import ModelError
from pipeline.core.seeding import numpy_generator, torch_generator
from pipeline.model import MultiFacetVae
from pipeline.model.dense import Dense
from pipeline.model.inputs import as_floats
from pipeline.model.ladders.dense import DenseLadder
from pipeline.training.adam import Adam
from pipeline.training.images import TrainingImages

Batch = Float[Tensor, "1 batch _"]
_BETAS = (0.9, 0.999)


def pretrain(model: MultiFacetVae, seed: int, images: TrainingImages, params: PretrainParams) -> None:
    """Train encoder and decoder in place; a pure function of the start weights, the images, the seed and ``params``.

    The heads' log-variances stay as they are.

    Raises:
        ModelError: the model is no dense ladder of one facet, or the weights became infinite.
    """
    stack = _Stack.of(model)
    for depth in range(stack.n_layers):
        loss = _layer_loss(stack, depth, seed, params.corruption)
        _minimise(
            loss, stack.pair(depth), _batches(images, seed, f"layer-{depth}", params.layer_epochs, params), params
        )
    _minimise(stack.reconstruction_loss, stack.all(), _batches(images, seed, "whole", params.epochs, params), params)
    if not all(bool(parameter.isfinite().all()) for parameter in model.network.parameters()):
        raise ModelError(
            f"pretraining of seed {seed} must end with finite weights, but some are not; "
            f"lower init_mog.pretrain.learning_rate, now {params.learning_rate}"
        )


@dataclass(frozen=True)
class _Stack:
    """The one way from the pixels to the posterior's mean and back, layer by layer from the outside inwards."""

    model: MultiFacetVae
    encoders: list[Dense]
    decoders: list[Dense]

    @classmethod
    def of(cls, model: MultiFacetVae) -> "_Stack":
        network = model.network
        if not isinstance(network, DenseLadder) or model.params.n_facets != 1 or model.n_seeds != 1:
            raise ModelError(
                "pretraining needs a dense ladder of one facet, "
                f"got family {model.params.family} with {model.params.n_facets} facets; set init_mog.pretrain to null"
            )
        encoders = _dense_layers(network.encoder_blocks, network.heads)
        decoders = _dense_layers(network.rungs, network.decoder_blocks, network.output)
        return cls(model, encoders, decoders[::-1])

    @property
    def n_layers(self) -> int:
        return len(self.encoders)

    def pair(self, depth: int) -> list[nn.Parameter]:
        return [*self.encoders[depth].parameters(), *self.decoders[depth].parameters()]

    def all(self) -> list[nn.Parameter]:
        return list(self.model.network.parameters())

    def encode(self, x: Batch, start: int, stop: int) -> Batch:
        """Apply the encoder's layers ``start`` … ``stop - 1``; the last one gives the posterior's mean."""
        for depth in range(start, stop):
            h = self.encoders[depth](x)
            x = h.chunk(2, dim=-1)[0] if depth == self.n_layers - 1 else h
        return x

    def loss(self, depth: int, code: Batch, target: Batch) -> Tensor:
        """Return how badly the decoder's layer at ``depth`` gives back its mirror's input, a batch's mean in nats."""
        output = self.decoders[depth](code)
        if depth == 0:
            return -self.model.likelihood.log_prob(output, target).mean()
        return 0.5 * (output - target).square().sum(-1).mean()

    def reconstruction_loss(self, x: Batch) -> Tensor:
        h = self.encode(x, 0, self.n_layers)
        for depth in reversed(range(1, self.n_layers)):
            h = self.decoders[depth](h)
        return self.loss(0, h, x)


def _dense_layers(*parts: nn.Module) -> list[Dense]:
    return [module for part in parts for module in part.modules() if isinstance(module, Dense)]


def _layer_loss(stack: _Stack, depth: int, seed: int, corruption: float) -> Callable[[Batch], Tensor]:
    generator = torch_generator(seed, "init_mog", "pretrain", "corruption", depth)

    def loss(x: Batch) -> Tensor:
        with torch.no_grad():
            target = stack.encode(x, 0, depth)
            kept = torch.rand(target.shape, generator=generator, dtype=target.dtype) >= corruption
        return stack.loss(depth, stack.encode(target * kept, depth, depth + 1), target)

    return loss


def _batches(
    images: TrainingImages, seed: int, stage: str, n_epochs: int, params: PretrainParams
) -> Iterator[Float[Tensor, "1 batch pixel"]]:
    rows = images.train_rows
    for epoch in range(n_epochs):
        order = rows[numpy_generator(seed, "init_mog", "pretrain", stage, epoch).permutation(len(rows))]
        for start in range(0, len(order), params.batch_size):
            some = images.some(order[start : start + params.batch_size])
            yield as_floats(images.source.spec, some, torch.float32).flatten(1)[None]


def _minimise(
    loss: Callable[[Batch], Tensor], parameters: list[nn.Parameter], batches: Iterator[Batch], params: PretrainParams
) -> None:
    optimizer = Adam([parameters], _BETAS)
    optimizer.rates[0].fill_(params.learning_rate)
    for x in batches:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

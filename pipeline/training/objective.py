"""What training minimises: the negative bound, networks replica by replica and mixtures for all seeds at once.

Training steps, the tests against enumeration and the two forms of the paper's Fig. 7 all compute it here.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.model import DiagonalNormal, MultiFacetVae
from pipeline.training.replicas import Replica, Replicas

Bound = tuple[Float[Tensor, "seed batch"], list[Float[Tensor, "seed batch"]]]
"""Log p(x | z), and KL_z,j + KL_c,j of the facets that take part, in nats an image."""


def encode(
    replicas: Replicas, x: Float[Tensor, "seed batch channel height width"], first_facet: int
) -> dict[Replica, list[DiagonalNormal]]:
    """Encode replica by replica, from facet ``first_facet`` on.

    On a GPU the result must live until the step has ended: the mixtures' stream reads what the replicas' streams
    return, and memory that is free again may be written by its own stream even while another one reads it.
    """
    encoded = replicas.start(lambda replica: replica.model.encode(x[replica.seeds], first_facet))
    replicas.join()
    return encoded


def bound(
    replicas: Replicas,
    x: Float[Tensor, "seed batch channel height width"],
    posteriors: dict[Replica, list[DiagonalNormal]],
    noise: Sequence[Float[Tensor, "sample seed batch _"]],
    fade_in: Float[Tensor, " facet"],
    precision: torch.dtype,
) -> Bound:
    """Return log p(x | z) and the KL terms of the facets that take part, in nats an image.

    Args:
        replicas: all seeds' models.
        x: inputs as floats.
        posteriors: from :func:`encode`.
        noise: standard normal numbers for the last ``len(noise)`` facets; the others wait.
        fade_in: coefficient of every facet's decoder rung.
        precision: type of the network's products; densities keep the type of ``x``.
    """

    def decode(replica: Replica) -> Float[Tensor, "own_seed batch"]:
        own_noise = [of_facet[:, replica.seeds] for of_facet in noise]
        return replica.model.log_px(x[replica.seeds], posteriors[replica], own_noise, fade_in, precision)

    log_px = replicas.start(decode)
    kls = replicas.model.kls(of_all_seeds(posteriors), noise)
    replicas.join()
    return _joined(list(log_px.values())), kls


def bound_of_model(
    model: MultiFacetVae,
    x: Float[Tensor, "seed batch channel height width"],
    noise: Sequence[Float[Tensor, "sample seed batch _"]],
    fade_in: Float[Tensor, " facet"],
    precision: torch.dtype | None = None,
) -> Bound:
    """Return :func:`bound` of a model that computes as one; its products have the type of ``x`` by default."""
    precision = precision or x.dtype
    replicas = Replicas(model, precision, None)
    posteriors = encode(replicas, x.to(precision), model.params.n_facets - len(noise))
    return bound(replicas, x, posteriors, noise, fade_in, precision)


def loss(
    log_px: Float[Tensor, "seed batch"], kls: Sequence[Float[Tensor, "seed batch"]], weights: Float[Tensor, " active"]
) -> Float[Tensor, ""]:
    """Return the sum over seeds of each batch's mean loss, so that every seed gets its own gradient.

    Args:
        log_px: from :func:`bound`.
        kls: from :func:`bound`.
        weights: of the KL terms of each facet that takes part.
    """
    return (torch.stack(list(kls), -1) @ weights - log_px).mean(1).sum()


def part(encoded: dict[Replica, list[DiagonalNormal]], images: slice) -> dict[Replica, list[DiagonalNormal]]:
    """Return the posteriors of some of the encoded images."""
    return {replica: list(_cut(own, [images] * len(own))) for replica, own in encoded.items()}


def part_of_each(
    encoded: dict[Replica, list[DiagonalNormal]], images: Sequence[slice]
) -> dict[Replica, list[DiagonalNormal]]:
    """Return, facet by facet, the posteriors of some of the encoded images."""
    return {replica: list(_cut(own, images)) for replica, own in encoded.items()}


def of_all_seeds(encoded: dict[Replica, list[DiagonalNormal]]) -> list[DiagonalNormal]:
    """Return the posteriors of every facet for all seeds."""
    of_facets = [zip(*of_facet, strict=True) for of_facet in zip(*encoded.values(), strict=True)]
    return [DiagonalNormal(*map(_joined, of_facet)) for of_facet in of_facets]


def _cut(of_facets: Sequence[DiagonalNormal], images: Sequence[slice]) -> Iterator[DiagonalNormal]:
    for qz, own in zip(of_facets, images, strict=True):
        yield DiagonalNormal(qz.mean[:, own], qz.log_variance[:, own])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))

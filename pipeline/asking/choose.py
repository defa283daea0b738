"""Which images to ask a person about: those whose label would tell most, from latents and responsibilities alone.

An answer tells about an image's neighbours, too, as the encoder that learns from it is continuous; and it tells more
where models are in doubt. So what is chosen is a set S that, together with the images already asked about, stands for
all images, above all for those in doubt:

    F(S) = Σ_i w_i max_{k in S} K_ik

w_i is the weight of image i (:func:`weigh_images`), K_ik in [0, 1] how near it is to image k (:func:`nearness`). This
is facility location: monotone and submodular, so that images taken one at a time, each the one that adds most, reach at
least 1 - 1/e of the largest F (Nemhauser, Wolsey and Fisher, 1978). An outlier stands for nobody, and a second image
beside a first one adds nothing.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

Resp = Float[np.ndarray, "image _"]
Latents = Float[np.ndarray, "image _"]
Near = Float32[np.ndarray, "image image"]

_BLOCK = 1024


def pair_entropy(clusterings: Sequence[Resp]) -> Float64[np.ndarray, " image"]:
    """Return how much is open about an image, in nats: whether it belongs together with another one, on average.

    C_ik, the mean over the clusterings of Σ_c r_ic r_kc, is the probability that images i and k share a cluster. What
    is open about i is the mean over k of the entropy of that: large between clusters, and where clusterings contradict
    each other although each is sure.

    Args:
        clusterings: responsibilities of the same images, of one model or more; the number of clusters may differ.
    """
    n_images = len(clusterings[0])
    entropy = np.empty(n_images)
    for start in range(0, n_images, _BLOCK):
        rows = slice(start, start + _BLOCK)
        together = sum((resp[rows] @ resp.T for resp in clusterings), np.zeros(())) / len(clusterings)
        entropy[rows] = _entropy(together.clip(0, 1)).mean(1)
    return entropy


def weigh_images(clusterings: Sequence[Resp], n_hinted: int) -> Float64[np.ndarray, " image"]:
    """Return how much an answer about every image's surroundings is worth, 1 where nothing is known of it.

    Before the first hint all images are alike: the facet is about something else than what a person wants to know, and
    so is the doubt in it. Afterwards an image in doubt as usual counts twice: 1 + u_i / mean u (:func:`pair_entropy`).
    Being spread goes on to count, as models are sure of wrong things, too.

    Args:
        clusterings: responsibilities of the facet, of one model or more.
        n_hinted: images with a hint in this facet.
    """
    entropy = pair_entropy(clusterings)
    mean = entropy.mean()
    return 1 + entropy / mean if n_hinted and mean > 0 else np.ones(len(entropy))


def nearness(latents: Sequence[Latents], n_asked: int) -> Near:
    """Return how near images are to each other, from 0 to 1, as a mean over models.

    A Gaussian of the distance of latents. It is as wide as most images have N / n_asked neighbours far, N being the
    number of images: as many as one of the asked images has to stand for.

    Args:
        latents: of the same images, one array a model; the dimensions may differ.
        n_asked: how many images are asked about in all, before and now.
    """
    n_images = len(latents[0])
    n_neighbours = min(max(1, n_images // max(1, n_asked)), n_images - 1)
    near = np.zeros((n_images, n_images), np.float32)
    for one in latents:
        squared = _squared_distances(one.astype(np.float32))
        width = np.median(np.partition(squared, n_neighbours, axis=1)[:, n_neighbours])
        near += np.exp(squared / -max(float(width), np.finfo(np.float32).tiny))
    return near / np.float32(len(latents))


def choose_images(
    near: Near, weights: Float[np.ndarray, " image"], asked: Int64[np.ndarray, " asked"], n_chosen: int
) -> Int64[np.ndarray, " chosen"]:
    """Choose images one at a time, each the one that adds most to F, of equal ones the first.

    Args:
        near: see :func:`nearness`.
        weights: of every image, not negative (see :func:`weigh_images`).
        asked: images that a person was asked about before: they stand for others already, and are not chosen again.
        n_chosen: how many; fewer where there are no others left.
    """
    covered = near[:, asked].max(1, initial=0.0)
    is_open = np.ones(len(near), bool)
    is_open[asked] = False
    chosen: list[int] = []
    for _ in range(min(n_chosen, int(is_open.sum()))):
        gains = np.where(is_open, _gains(near, weights, covered), -1.0)
        best = int(gains.argmax())
        chosen.append(best)
        is_open[best] = False
        covered = np.maximum(covered, near[:, best])
    return np.array(chosen, np.int64)


def _gains(near: Near, weights: np.ndarray, covered: np.ndarray) -> Float64[np.ndarray, " image"]:
    """Return what every image would add to F."""
    gains = np.empty(len(near))
    for start in range(0, len(near), _BLOCK):
        columns = slice(start, start + _BLOCK)
        gains[columns] = weights @ np.maximum(near[:, columns] - covered[:, None], 0.0)
    return gains


def _squared_distances(points: Float32[np.ndarray, "image latent"]) -> Float32[np.ndarray, "image image"]:
    centred = points - points.mean(0)
    norms = (centred**2).sum(1)
    squared = (norms[:, None] + norms - 2 * centred @ centred.T).clip(min=0)
    np.fill_diagonal(squared, 0)  # rounding leaves something
    return squared


def _entropy(probability: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.nan_to_num(p * np.log(p)) - np.nan_to_num((1 - p) * np.log1p(-p))

"""What the page shows of a model, as arrays: made by stage report with the model, written and drawn without it.

Pictures of the data are kept once, in a pool; everything else names them by their place in the pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

Pictures = UInt8[np.ndarray, "picture channel height width"]
PoolIndices = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Pool:
    """The images that the page can show.

    Attributes:
        images: at the model's size.
        image_ids: their ids.
        is_test: whether they belong to the test split.
        is_sampled: whether they were drawn at random from all images (the others were chosen for what they show).
        labels: label values by factor, negative where unknown; empty without labels.
    """

    images: UInt8[np.ndarray, "pool channel height width"]
    image_ids: Shaped[np.ndarray, " pool"]
    is_test: Bool[np.ndarray, " pool"]
    is_sampled: Bool[np.ndarray, " pool"]
    labels: Mapping[str, Int[np.ndarray, " pool"]]


@dataclass(frozen=True)
class PoolAssignment:
    """One facet's view of the pool.

    Attributes:
        cluster_id: component with the largest responsibility.
        confidence: that responsibility.
        group_confidence: that of the component's group; None where components form no groups.
        entropy: of the responsibilities, in nats.
        typicality: log p(z_j), in nats.
        runner_up: second component, -1 where there is none.
        runner_up_confidence: its responsibility.
        latents: posterior means.
        places: on the facet's map.
    """

    cluster_id: Int[np.ndarray, " pool"]
    confidence: Float[np.ndarray, " pool"]
    group_confidence: Float[np.ndarray, " pool"] | None
    entropy: Float[np.ndarray, " pool"]
    typicality: Float[np.ndarray, " pool"]
    runner_up: Int[np.ndarray, " pool"]
    runner_up_confidence: Float[np.ndarray, " pool"]
    latents: Float[np.ndarray, "pool latent"]
    places: Float[np.ndarray, "pool 2"]


@dataclass(frozen=True)
class FacetShow:
    """One facet over all images of the source.

    Attributes:
        pool: its view of the pool.
        sizes: images by component.
        mean_confidence: of the members; nan without members.
        histogram: members by confidence in ten equal bins.
        by_confidence: components, surest test members first (paper, Fig. 4), those without images last.
        by_similarity: components in an order that keeps similar ones together.
        neighbours: the nearest other components by distance of their means, nearest first.
        examples: members of each component, surest first.
        borderline: members of each component, least sure first.
        unusual: images with the lowest typicality, lowest first.
        uncertain: images with the largest entropy, largest first.
        generated: samples of each component (paper, Fig. 6).
        label_counts: by factor, members by component and label value; empty without labels.
    """

    pool: PoolAssignment
    sizes: Int[np.ndarray, " component"]
    mean_confidence: Float[np.ndarray, " component"]
    histogram: Int[np.ndarray, "component 10"]
    by_confidence: Int[np.ndarray, " component"]
    by_similarity: Int[np.ndarray, " component"]
    neighbours: Int[np.ndarray, "component neighbour"]
    examples: Sequence[PoolIndices]
    borderline: Sequence[PoolIndices]
    unusual: PoolIndices
    uncertain: PoolIndices
    generated: UInt8[np.ndarray, "component sample channel height width"]
    label_counts: Mapping[str, Int[np.ndarray, "component _"]]


@dataclass(frozen=True)
class CrossShow:
    """Two facets against each other.

    Attributes:
        first: the facet of the rows.
        second: the facet of the columns.
        row_ids: components shown as rows, largest of all if there are too many.
        column_ids: components shown as columns.
        examples: a place in the pool for every cell shown, -1 where no image falls into it.
        imagined: decoded from the two component means, row by row.
    """

    first: int
    second: int
    row_ids: Int[np.ndarray, " row"]
    column_ids: Int[np.ndarray, " column"]
    examples: Int[np.ndarray, "row column"]
    imagined: UInt8[np.ndarray, "row column channel height width"]


@dataclass(frozen=True)
class SwapShow:
    """Images with one facet taken from another image (paper, Fig. 5).

    Attributes:
        anchors: places in the pool.
        pictures: by facet j, anchor a and anchor b: the image a with facet j of the image b.
        cluster_id: components of all facets when such a picture is read again.
    """

    anchors: PoolIndices
    pictures: UInt8[np.ndarray, "facet anchor anchor channel height width"]
    cluster_id: Int[np.ndarray, "facet anchor anchor facet"]


@dataclass(frozen=True)
class Showcase:
    """Everything that stage report hands to the page.

    Attributes:
        experiment: its name.
        model_version: of the model that all this comes from.
        n_train: images of the training split.
        n_test: images of the test split.
        temperature: of the generated samples.
        redrawn: the part of the pixels' variance over held-out images that their reconstructions explain; below 0 where
            one and the same mean image would be nearer to them, None where too few images can tell.
        nearest: where what the model makes up is no picture, the images of the pool shown in its place, by sheet.
        pool: the images.
        label_values: names of the label values in ``label_counts``, by factor.
        facets: one a facet.
        crosses: one for every pair of facets.
        swaps: None for a model of one facet, or without images.
    """

    experiment: str
    model_version: str
    n_train: int
    n_test: int
    temperature: float
    redrawn: float | None
    nearest: Mapping[str, Sequence[int]] | None
    pool: Pool
    label_values: Mapping[str, Int[np.ndarray, " _"]]
    facets: Sequence[FacetShow]
    crosses: Sequence[CrossShow]
    swaps: SwapShow | None

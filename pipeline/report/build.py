"""What the page shows of a trained model: examples, samples, swaps, maps. The slow part of the page."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from pipeline.config.sections import ReportParams
from pipeline.core.progress import progress
from pipeline.core.records import FacetAssignment
from pipeline.core.seeding import numpy_generator, torch_generator
from pipeline.model import FrozenModel
from pipeline.model.inputs import as_pictures, as_stored
from pipeline.report import selection
from pipeline.report.corpus import Corpus
from pipeline.report.nearest import Nearest
from pipeline.report.projection import map_places, mean_distances, nearest_components, order_by_similarity
from pipeline.report.showcase import CrossShow, FacetShow, Pictures, Pool, PoolAssignment, Showcase, SwapShow

N_BORDERLINE = 12
N_UNUSUAL = 48
N_ANCHORS = 12
N_NEIGHBOURS = 6
CROSS_CELLS = 2400
"""Cells of all cross-tables together at most; each shows the largest clusters of its facets."""

_N_STEPS = 4
_BLOCK = 2048

Chosen = Int[np.ndarray, " _"]

Draw = Callable[[str, Float[Tensor, "..."]], UInt8[np.ndarray, "..."]]
"""From what a model decoded to pictures for people, next in a sheet of the page."""


def build_showcase(model: FrozenModel, corpus: Corpus, params: ReportParams, seed: int, experiment: str) -> Showcase:
    """Compute everything on the page that needs the model.

    Args:
        model: the selected model.
        corpus: all images with their assignments.
        params: the report section.
        seed: from which all random choices derive.
        experiment: its name.
    """
    with progress(f"report {experiment}", _N_STEPS, unit="step") as bar:
        choice = _choose(model, corpus, params, seed)
        images = corpus.take(choice.pool)
        pool = _pool(corpus, choice, corpus.take_pictures(choice.pool))
        latents = _encode(model, images)
        nearest = Nearest(latents, pool.images) if corpus.has_pictures else None
        draw = _drawer(model, nearest)
        bar.advance(note="images chosen and read")
        facets = [
            _facet(model, corpus, choice, j, latents[j], _generated(model, draw, j, params, seed))
            for j in range(model.n_facets)
        ]
        bar.advance(note="samples generated")
        crosses = [_cross(model, draw, corpus, choice, *pair) for pair in combinations(range(model.n_facets), 2)]
        bar.advance(note="combinations imagined")
        swaps = _swaps(model, draw, choice, latents) if model.n_facets > 1 and len(choice.anchors) else None
        bar.advance(note="facets swapped")
    return Showcase(
        experiment=experiment,
        model_version=model.model_version,
        n_train=corpus.n_train,
        n_test=corpus.n_images - corpus.n_train,
        temperature=params.temperature,
        redrawn=_redrawn(model, images, pool, latents),
        nearest=None if nearest is None else nearest.drawn,
        pool=pool,
        label_values={name: _values(values) for name, values in corpus.labels.items()},
        facets=facets,
        crosses=crosses,
        swaps=swaps,
    )


class _Choice:
    """Places of all chosen images in the corpus, and their places in the pool."""

    def __init__(self, parts: Mapping[str, Sequence[Chosen]], anchors: Chosen, sampled: Chosen) -> None:
        self._parts = parts
        self.anchors, self.sampled = anchors, sampled
        everything = [chosen for each in parts.values() for chosen in each]
        self.pool = np.unique(np.concatenate([*everything, sampled]))

    def of(self, part: str) -> list[Chosen]:
        """Return the choices of one kind as places in the pool."""
        return [self.to_pool(chosen) for chosen in self._parts[part]]

    def to_pool(self, chosen: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """Translate places in the corpus; -1 stays."""
        return np.where(chosen < 0, -1, np.searchsorted(self.pool, chosen))


def _choose(model: FrozenModel, corpus: Corpus, params: ReportParams, seed: int) -> _Choice:
    parts: dict[str, Sequence[Chosen]] = {}
    for j, facet in enumerate(corpus.facets):
        n_components = model.params.n_components[j]
        parts[f"examples-{j}"] = selection.surest_members(facet, n_components, params.examples)
        parts[f"borderline-{j}"] = selection.borderline_members(facet, n_components, N_BORDERLINE)
        parts[f"unusual-{j}"] = [selection.lowest(facet.typicality, N_UNUSUAL)]
        parts[f"uncertain-{j}"] = [selection.lowest(-facet.entropy, N_UNUSUAL)]
    for first, second in combinations(range(model.n_facets), 2):
        shown = _cross_examples(model, corpus, first, second)[2]
        parts[f"cross-{first}-{second}"] = [shown[shown >= 0]]
    sampled = selection.random_images(corpus.n_images, params.map_points, numpy_generator(seed, "report", "map"))
    surest = [chosen[:1] for j in range(model.n_facets) for chosen in parts[f"examples-{j}"]]
    anchors = selection.diverse_images(corpus.facets, np.unique(np.concatenate(surest)), N_ANCHORS)
    return _Choice(parts, anchors, sampled)


def _cross_examples(
    model: FrozenModel, corpus: Corpus, first: int, second: int
) -> tuple[Chosen, Chosen, Int[np.ndarray, "row column"]]:
    """Return the rows, columns and example images of a cross-table."""
    n_pairs = model.n_facets * (model.n_facets - 1) // 2
    longest = int((CROSS_CELLS / n_pairs) ** 0.5)
    shape = (model.params.n_components[first], model.params.n_components[second])
    sizes = [np.bincount(corpus.facets[j].cluster_id, minlength=model.params.n_components[j]) for j in (first, second)]
    rows, columns = (selection.largest_components(size, longest) for size in sizes)
    examples = selection.cross_examples(corpus.facets[first], corpus.facets[second], shape)
    return rows, columns, examples[np.ix_(rows, columns)]


def _pool(corpus: Corpus, choice: _Choice, pictures: Pictures) -> Pool:
    return Pool(
        images=pictures,
        image_ids=corpus.image_ids[choice.pool],
        is_test=corpus.is_test[choice.pool],
        is_sampled=np.isin(choice.pool, choice.sampled),
        labels={name: values[choice.pool] for name, values in corpus.labels.items()},
    )


def _encode(model: FrozenModel, images: Shaped[np.ndarray, "n c h w"]) -> list[Float[np.ndarray, "pool latent"]]:
    blocks = [
        [qz.mean.float().cpu().numpy() for qz in model.encode(torch.from_numpy(images[start : start + _BLOCK]))]
        for start in range(0, max(1, len(images)), _BLOCK)
    ]
    return [np.concatenate([block[j] for block in blocks]) for j in range(model.n_facets)]


def _drawer(model: FrozenModel, nearest: Nearest | None) -> Draw:
    """Return what makes pictures of what a model decodes: of features of images, those of the nearest ones."""
    if nearest is None:
        return lambda _, decoded: as_pictures(model.spec, decoded)

    def draw(sheet: str, decoded: Float[Tensor, "*batch 1 1 feature"]) -> UInt8[np.ndarray, "*batch _ _ _"]:
        pictures = nearest.draw(sheet, _encode(model, as_stored(model.spec, decoded).flatten(0, -4).numpy()))
        return pictures.reshape(*decoded.shape[:-3], *pictures.shape[1:])

    return draw


def _redrawn(
    model: FrozenModel,
    images: Shaped[np.ndarray, "n c h w"],
    pool: Pool,
    latents: Sequence[Float[np.ndarray, "pool _"]],
) -> float | None:
    """Return the part of the variance of held-out images, drawn at random, that their reconstructions explain."""
    held_out = np.flatnonzero(pool.is_test & pool.is_sampled)[:_BLOCK]
    real = images[held_out].astype(np.float64)
    variance = float(((real - real.mean(axis=0)) ** 2).sum()) if len(real) > 1 else 0.0
    if variance == 0:
        return None
    drawn = as_stored(model.spec, model.decode([torch.from_numpy(z[held_out]).float() for z in latents])).numpy()
    return round(1 - float(((real - drawn) ** 2).sum()) / variance, 6)


def _facet(
    model: FrozenModel,
    corpus: Corpus,
    choice: _Choice,
    j: int,
    latents: Float[np.ndarray, "pool latent"],
    generated: UInt8[np.ndarray, "component sample channel height width"],
) -> FacetShow:
    facet, n_components, mixture = corpus.facets[j], model.params.n_components[j], model.mixture(j)
    sizes = np.bincount(facet.cluster_id, minlength=n_components)
    distances = mean_distances(mixture)
    return FacetShow(
        pool=_pool_assignment(facet, choice.pool, latents, map_places(latents, mixture, facet.cluster_id[choice.pool])),
        sizes=sizes,
        mean_confidence=selection.mean_confidence(facet, n_components),
        histogram=selection.confidence_histogram(facet, n_components),
        by_confidence=selection.order_by_confidence(facet, corpus.is_test, n_components),
        by_similarity=order_by_similarity(distances),
        neighbours=nearest_components(distances, sizes, N_NEIGHBOURS),
        examples=choice.of(f"examples-{j}"),
        borderline=choice.of(f"borderline-{j}"),
        unusual=choice.of(f"unusual-{j}")[0],
        uncertain=choice.of(f"uncertain-{j}")[0],
        generated=generated,
        label_counts={name: _label_counts(facet, values, n_components) for name, values in corpus.labels.items()},
    )


def _pool_assignment(
    facet: FacetAssignment, pool: Chosen, latents: Float[np.ndarray, "pool d"], places: Float[np.ndarray, "pool 2"]
) -> PoolAssignment:
    of_group = facet.group_confidence  # nulls in the table of a model without groups
    return PoolAssignment(
        cluster_id=facet.cluster_id[pool],
        confidence=facet.confidence[pool],
        group_confidence=None if of_group is None or np.isnan(of_group).any() else of_group[pool],
        entropy=facet.entropy[pool],
        typicality=facet.typicality[pool],
        runner_up=facet.runner_up[pool],
        runner_up_confidence=facet.runner_up_confidence[pool],
        latents=latents,
        places=places,
    )


def _generated(
    model: FrozenModel, draw: Draw, j: int, params: ReportParams, seed: int
) -> UInt8[np.ndarray, "k n c h w"]:
    generator = torch_generator(seed, "report", "generated", j)
    samples = [
        draw("generated", model.sample(j, component, params.generated, params.temperature, generator))
        for component in range(model.params.n_components[j])
    ]
    return np.stack(samples)


def _cross(model: FrozenModel, draw: Draw, corpus: Corpus, choice: _Choice, first: int, second: int) -> CrossShow:
    rows, columns, examples = _cross_examples(model, corpus, first, second)
    return CrossShow(
        first=first,
        second=second,
        row_ids=rows,
        column_ids=columns,
        examples=choice.to_pool(examples),
        imagined=_imagined(model, draw, first, second, rows, columns),
    )


def _imagined(
    model: FrozenModel, draw: Draw, first: int, second: int, rows: Chosen, columns: Chosen
) -> UInt8[np.ndarray, "row column c h w"]:
    """Decode the means of two components; other facets stay at the mean of their heaviest component."""
    n_cells = len(rows) * len(columns)
    latents = []
    for j in range(model.n_facets):
        mixture = model.mixture(j)
        components = {first: np.repeat(rows, len(columns)), second: np.tile(columns, len(rows))}
        heaviest = np.full(n_cells, int(mixture.weights.argmax()))
        latents.append(torch.from_numpy(mixture.means[components.get(j, heaviest)]).float())
    pictures = draw("imagined", model.decode(latents))
    return pictures.reshape(len(rows), len(columns), *pictures.shape[1:])


def _swaps(model: FrozenModel, draw: Draw, choice: _Choice, latents: Sequence[Float[np.ndarray, "pool d"]]) -> SwapShow:
    """Decode every pair of anchors with one facet exchanged, and read the results again (paper, Fig. 5)."""
    anchors = choice.to_pool(choice.anchors)
    own = [torch.from_numpy(z[anchors]).float() for z in latents]
    pictures, clusters = [], []
    for swapped in range(model.n_facets):
        mixed = model.swap_grid(own, swapped)
        decoded = as_stored(model.spec, mixed)
        found = model.assign(decoded.flatten(0, 1))
        pictures.append(draw("swaps", mixed))
        ids = np.stack([facet.cluster_id for facet in found], axis=-1)
        clusters.append(ids.reshape(*decoded.shape[:2], model.n_facets))
    return SwapShow(anchors, np.stack(pictures), np.stack(clusters))


def _values(values: Int[np.ndarray, " image"]) -> Int[np.ndarray, " value"]:
    found = np.unique(values)
    return found[found >= 0]


def _label_counts(
    facet: FacetAssignment, values: Int[np.ndarray, " image"], n_components: int
) -> Int[np.ndarray, "k v"]:
    shown = _values(values)
    known = values >= 0
    columns = np.searchsorted(shown, values[known])
    cells = facet.cluster_id[known] * len(shown) + columns
    return np.bincount(cells, minlength=n_components * len(shown)).reshape(n_components, len(shown))

"""A few values of a label column as hints: some images a class, the same ones each time."""

import numpy as np

from pipeline.core.errors import ConfigError
from pipeline.core.image_ids import leading_bits, parse_ids
from pipeline.core.layout import Layout
from pipeline.core.seeding import derive_seed
from pipeline.datasets.prepare.catalogue import mix
from pipeline.datasets.store.labels import read_class_names, read_labels


def draw_labelled(layout: Layout, column: str, n_each: int) -> list[tuple[str, str]]:
    """Return ids and labels of images of the training split, some of every class; fewer where a class has fewer.

    Which ones their content decides: the same for every call, and a larger number only adds to them.

    Args:
        layout: of the experiment.
        column: a label factor.
        n_each: images a class.

    Raises:
        ConfigError: there is no such factor, or fewer than two of its classes have two images.
        DataError: no labels are prepared.
    """
    image_ids, factors = read_labels(layout.prepared, "train")
    if column not in factors:
        raise ConfigError(
            f"labels must come from a factor of {layout.experiment}, {', '.join(factors) or 'which has none'}, got "
            f"{column!r}; see preprocess.labels in docs/inputs.md"
        )
    names = read_class_names(layout.prepared).get(column)
    hashes, copies = parse_ids(image_ids.tolist())
    keys = mix(leading_bits(hashes) ^ np.uint64(derive_seed(0, "hints", "labels", column)))
    order = np.lexsort((copies, keys))
    drawn: list[tuple[str, str]] = []
    values, counts = np.unique(factors[column][factors[column] >= 0], return_counts=True)
    for value in values[counts > 1].tolist():
        of_class = order[factors[column][order] == value][:n_each]
        label = str(value) if names is None else names[value]
        drawn += [(str(image_ids[row]), label) for row in of_class]
    if (counts > 1).sum() < 2:
        raise ConfigError(
            f"hints need at least two classes of two images or more, but {column} has {(counts > 1).sum()} in the "
            "training split; choose another column"
        )
    return drawn

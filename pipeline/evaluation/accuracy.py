"""How well a clustering agrees with a label factor: every number is a function of a contingency table.

A table counts images by component (rows) and class (columns). Images without a label are in no table.
"""

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

Table = Int[np.ndarray, "component class"]


def contingency(
    cluster_id: Int[np.ndarray, " image"], label: Int[np.ndarray, " image"], n_components: int, n_classes: int
) -> Table:
    """Count images by component and class.

    Args:
        cluster_id: component of every image, 0 ≤ id < ``n_components``.
        label: class of every image, below ``n_classes``; a negative one means unknown and is left out.
        n_components: rows of the table.
        n_classes: columns of the table.

    Raises:
        ValueError: an id or a label is out of range, or the two differ in length.
    """
    if cluster_id.shape != label.shape:
        raise ValueError(f"cluster_id and label need one entry an image each, got {len(cluster_id)} and {len(label)}")
    known = label >= 0
    components, classes = cluster_id[known].astype(np.int64), label[known].astype(np.int64)
    for name, values, limit in (("cluster_id", components, n_components), ("label", classes, n_classes)):
        if values.size and not (values.min() >= 0 and values.max() < limit):
            raise ValueError(f"{name} must lie in 0..{limit - 1}, got {values.min()}..{values.max()}")
    flat = np.bincount(components * n_classes + classes, minlength=n_components * n_classes)
    return flat.reshape(n_components, n_classes)


def majority_map(table: Table) -> Int[np.ndarray, " component"]:
    """Return the most frequent class of every component; an empty component gets the most frequent class of all.

    Of equally frequent classes the one with the smallest number is taken.
    """
    mapping = table.argmax(axis=1)
    mapping[table.sum(axis=1) == 0] = table.sum(axis=0).argmax()
    return mapping


def accuracy(train: Table, test: Table) -> float:
    """Return the part of the test images whose component is mapped to their class by majority on the training split."""
    return int(test[np.arange(len(test)), majority_map(train)].sum()) / _total(test)


def accuracy_same_split(table: Table) -> float:
    """Return the accuracy with components mapped on the same images: the paper's convention (appendix E.5).

    It is the largest accuracy that any map from components to classes can have on these images.
    """
    return int(table.max(axis=1).sum()) / _total(table)


def hungarian_accuracy(table: Table) -> float:
    """Return the largest accuracy of a one-to-one map between components and classes, on the same images.

    Raises:
        ValueError: there are not as many components as classes.
    """
    n_components, n_classes = table.shape
    if n_components != n_classes:
        raise ValueError(f"a one-to-one map needs as many components as classes, got {n_components} and {n_classes}")
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum()) / _total(table)


def mutual_information(table: Table) -> float:
    """Return the mutual information of rows and columns in nats."""
    joint = table / _total(table)
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = joint > 0
    return max(0.0, float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))))


def normalised_mutual_information(table: Table) -> float:
    """Return the mutual information over the mean of the two entropies, in [0, 1].

    0 where both entropies vanish: two constants tell nothing about each other.
    """
    mean_entropy = 0.5 * (entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)))
    return min(1.0, mutual_information(table) / mean_entropy) if mean_entropy > 0 else 0.0


def adjusted_rand(table: Table) -> float:
    """Return the adjusted Rand index (Hubert and Arabie, 1985): 1 for equal partitions, 0 expected by chance."""
    together, in_rows, in_columns = _pairs(table), _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    expected = in_rows * in_columns / max(1.0, _pairs(table.sum(keepdims=True)))
    largest = 0.5 * (in_rows + in_columns)
    # Only trivial partitions (all alone, or all together) have no room between chance and the largest value.
    return (together - expected) / (largest - expected) if largest > expected else 1.0


def entropy(sizes: Int[np.ndarray, " group"]) -> float:
    """Return the entropy in nats of the group that a random image belongs to."""
    share = sizes[sizes > 0] / sizes.sum()
    return max(0.0, float(-np.sum(share * np.log(share))))


def _pairs(counts: np.ndarray) -> float:
    return float((counts * (counts - 1.0) / 2).sum())


def _total(table: Table) -> int:
    total = int(table.sum())
    if total == 0:
        raise ValueError("a score needs at least one labelled image, got an empty table")
    return total

"""How two clusterings of the same images agree: every number is a function of a contingency table.

A table counts images by group of the one (rows) and group of the other (columns).
"""

import numpy as np
from jaxtyping import Int

Table = Int[np.ndarray, "row column"]


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


def mutual_information(table: Table) -> float:
    """Return the mutual information of rows and columns in nats."""
    joint = table / n_counted(table)
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = joint > 0
    return max(0.0, float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))))


def normalised_mutual_information(table: Table) -> float:
    """Return the mutual information over the mean of the two entropies, in [0, 1].

    0 where both entropies vanish: two constants tell nothing about each other.
    """
    mean_entropy = 0.5 * (entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)))
    return min(1.0, mutual_information(table) / mean_entropy) if mean_entropy > 0 else 0.0


def expected_mutual_information(table: Table) -> float:
    """Return the mutual information in nats to be expected of two clusterings of these sizes that ignore each other.

    A sum over the hypergeometric distribution of every cell (Vinh et al., 2010). Not that of scikit-learn: importing
    it takes 2 s where scipy's special functions take 0.3 s, and the page is composed whenever images come in.
    """
    from scipy.special import gammaln

    n = n_counted(table)
    row_sizes, column_sizes = (sizes[sizes > 0] for sizes in (table.sum(axis=1), table.sum(axis=0)))
    total = 0.0
    for a in row_sizes:
        for b in column_sizes:
            # What lies further from the mean than that adds nothing to a double.
            reach = 12 * np.sqrt(a * b / n) + 12
            least, most = max(1, a + b - n, int(a * b / n - reach)), min(a, b, int(a * b / n + reach))
            both = np.arange(least, most + 1)
            ways = gammaln(a + 1) + gammaln(b + 1) + gammaln(n - a + 1) + gammaln(n - b + 1) - gammaln(n + 1)
            log_share = ways - sum(gammaln(part + 1) for part in (both, a - both, b - both, n - a - b + both))
            total += float(np.sum(np.exp(log_share) * both / n * np.log(n * both / (a * b))))
    return max(0.0, total)


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


def n_counted(table: Table) -> int:
    """Return how many images a table counts.

    Raises:
        ValueError: there are none, so that no score has a meaning.
    """
    total = int(table.sum())
    if total == 0:
        raise ValueError("a score needs at least one labelled image, got an empty table")
    return total

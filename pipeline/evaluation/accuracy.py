"""How well a clustering agrees with a label factor: every number is a function of a contingency table.

A table counts images by component (rows) and class (columns). Images without a label are in no table.
"""

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from pipeline.core.contingency import n_counted

Table = Int[np.ndarray, "component class"]


def majority_map(table: Table) -> Int[np.ndarray, " component"]:
    """Return the most frequent class of every component; an empty component gets the most frequent class of all.

    Of equally frequent classes the one with the smallest number is taken.
    """
    mapping = table.argmax(axis=1)
    mapping[table.sum(axis=1) == 0] = table.sum(axis=0).argmax()
    return mapping


def accuracy(train: Table, test: Table) -> float:
    """Return the part of the test images whose component is mapped to their class by majority on the training split."""
    return int(test[np.arange(len(test)), majority_map(train)].sum()) / n_counted(test)


def accuracy_same_split(table: Table) -> float:
    """Return the accuracy with components mapped on the same images, as the paper maps them (appendix E.5).

    It is the largest accuracy that any map from components to classes can have on these images.
    """
    return int(table.max(axis=1).sum()) / n_counted(table)


def hungarian_accuracy(table: Table) -> float:
    """Return the largest accuracy of a one-to-one map between components and classes, on the same images.

    Where there are more of the one than of the other, some have no partner, and their images count as wrong.
    """
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum()) / n_counted(table)

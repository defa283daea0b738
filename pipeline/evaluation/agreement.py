"""How one clustering agrees with one label factor, both accuracy conventions and their chance levels together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from pipeline.core.contingency import adjusted_rand, contingency, normalised_mutual_information
from pipeline.evaluation.accuracy import accuracy, accuracy_same_split, hungarian_accuracy, majority_map
from pipeline.evaluation.chance import ChanceLevels, chance_levels
from pipeline.evaluation.labels import Factor


@dataclass(frozen=True)
class Clustering:
    """Hard clusters of both splits.

    Attributes:
        train: component of every training image.
        test: component of every test image.
        n_components: how many components there are.
    """

    train: Int[np.ndarray, " train_image"]
    test: Int[np.ndarray, " test_image"]
    n_components: int


@dataclass(frozen=True)
class Agreement:
    """Scores of a clustering against a label factor, on the test split unless said.

    Attributes:
        accuracy: components mapped to classes by majority on the training split.
        accuracy_same_split: mapped on the test split itself.
        accuracy_same_split_train: mapped and scored on the training split (paper, appendix E.2).
        accuracy_paper: the paper's convention: mapped on the test split itself, of clusters at the posterior mean.
        hungarian: best one-to-one map on the test split; images without a partner count as wrong.
        nmi: normalised mutual information.
        ari: adjusted Rand index.
        chance: what random clusters of the same sizes score.
    """

    accuracy: float
    accuracy_same_split: float
    accuracy_same_split_train: float
    accuracy_paper: float
    hungarian: float
    nmi: float
    ari: float
    chance: ChanceLevels


def agreement(clusters: Clustering, factor: Factor, at_mean: Clustering | None = None) -> Agreement:
    """Score a clustering against a label factor.

    Args:
        clusters: the clustering as published, which all numbers but one are of.
        factor: the labels.
        at_mean: clusters at the posterior mean, for the paper's convention; the published ones by default, as a
            method without posteriors has one clustering only.
    """
    train, test = tables(clusters, factor)
    _, paper_test = tables(at_mean or clusters, factor)
    return Agreement(
        accuracy=accuracy(train, test),
        accuracy_same_split=accuracy_same_split(test),
        accuracy_same_split_train=accuracy_same_split(train),
        accuracy_paper=accuracy_same_split(paper_test),
        hungarian=hungarian_accuracy(test),
        nmi=normalised_mutual_information(test),
        ari=adjusted_rand(test),
        chance=chance_levels(train, test, paper_test),
    )


def tables(
    clusters: Clustering, factor: Factor
) -> tuple[Int[np.ndarray, "component class"], Int[np.ndarray, "component class"]]:
    """Return the contingency tables of the training and the test split."""
    n_components, n_classes = clusters.n_components, factor.n_classes
    return (
        contingency(clusters.train, factor.train, n_components, n_classes),
        contingency(clusters.test, factor.test, n_components, n_classes),
    )


def correct_images(clusters: Clustering, factor: Factor) -> Bool[np.ndarray, " labelled_test_image"]:
    """Tell for every labelled test image whether its component is mapped to its class by majority on training."""
    train, _ = tables(clusters, factor)
    known = factor.test >= 0
    return majority_map(train)[clusters.test[known]] == factor.test[known]

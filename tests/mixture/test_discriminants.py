import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.core.errors import ModelError
from pipeline.mixture.discriminants import cluster_discriminants

N_NUMBERS, N_CLUSTERS = 12, 6


def clustered_rows(n: int = 600) -> tuple[torch.Tensor, np.ndarray]:
    """Return rows whose clusters lie in two dimensions, turned, beside a third one that is as wide; and those two."""
    generator = np.random.default_rng(0)
    rows = generator.normal(0, 0.3, (n, N_NUMBERS))
    angles = 2 * np.pi * generator.integers(0, N_CLUSTERS, n) / N_CLUSTERS
    rows[:, 0] += 4 * np.cos(angles)
    rows[:, 1] += 4 * np.sin(angles)
    rows[:, 2] += generator.normal(0, 1.5, n)
    turned = np.linalg.qr(generator.normal(size=(N_NUMBERS, N_NUMBERS)))[0]
    return torch.from_numpy(rows @ turned.T + 5), turned[:, :2]


def test_they_span_where_clusters_lie() -> None:
    rows, plane = clustered_rows()
    found = cluster_discriminants(rows, N_CLUSTERS, 2, random_state=0)
    assert np.cos(subspace_angles(found.directions.numpy(), plane)).min() > 0.999


def test_they_are_scikit_learns_of_the_same_clusters() -> None:
    """Theirs shrinks each cluster's covariance for itself, which differs in the digits that follow."""
    rows, _ = clustered_rows()
    found = cluster_discriminants(rows, N_CLUSTERS, 2, random_state=3)
    labels = KMeans(N_CLUSTERS, n_init=10, random_state=np.random.RandomState(3)).fit_predict(rows.numpy())
    theirs = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.5, n_components=2).fit(rows.numpy(), labels)
    assert np.cos(subspace_angles(found.directions.numpy(), theirs.scalings_[:, :2])).min() > 0.999


def test_they_are_orthogonal_of_one_length_and_clusters_have_variance_1() -> None:
    rows, _ = clustered_rows()
    found = cluster_discriminants(rows, N_CLUSTERS, 4, random_state=0)
    products = found.directions.T @ found.directions
    torch.testing.assert_close(products, products[0, 0] * torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    read = ((rows - found.offset) @ found.directions).numpy()
    assert abs(read.mean(0)).max() < 1e-9
    labels = KMeans(N_CLUSTERS, n_init=10, random_state=np.random.RandomState(0)).fit_predict(rows.numpy())
    within = sum(((own - own.mean(0)) ** 2).sum(0) for own in (read[labels == c] for c in range(N_CLUSTERS)))
    assert np.mean(within / len(rows)) == pytest.approx(1, rel=1e-6)
    variances = read.var(0)
    assert (np.diff(variances) < 0).all()


@pytest.mark.parametrize("n_distinct", [1, 2, 3])
def test_few_distinct_rows_and_more_directions_than_clusters_stay_finite(n_distinct: int) -> None:
    rows = torch.randn(n_distinct, 5, generator=torch.Generator().manual_seed(0)).repeat(6, 1)
    found = cluster_discriminants(rows, 3, 5, random_state=0)
    assert found.directions.shape == (5, 5)
    assert found.directions.isfinite().all()


def test_more_directions_than_numbers_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"images have 3 numbers, but .* wants 4 directions of them; lower its latent_dims"
    ):
        cluster_discriminants(torch.randn(9, 3), 2, 4, random_state=0)

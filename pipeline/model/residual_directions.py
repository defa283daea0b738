"""What each facet reads of a row of features: directions of what the deeper facets' clusters leave.

The deepest facet reads the main directions, half-whitened. A shallower one reads what is left of the row once the centre
of its cluster among the deeper facet's directions is taken off: those directions that vary in *every* cluster, measured
by how much neighbours differ in them. The geometric mean of the clusters' covariances (Arsigny et al., 2006,
log-Euclidean) is small wherever one cluster's is, which is what tells a property of all rows from one of a few; over
the covariance of neighbours it is the criterion of nearest-neighbour discriminants. No labels take part.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.core.errors import ModelError

MAIN, READ = 128, 40
"""Directions that are kept of rows, and that a shallower facet reads of them, at most."""
HALF_WHITENED = 64
"""Directions that the deepest facet reads at most."""

_N_NEIGHBOURS = 10
_MOST_ROWS = 6000  # whose neighbours are looked for, among themselves
_LEAST_VARIANCE = 1e-9  # of a direction, over that of the first: beneath is rounding
_RIDGE_OF_CLUSTERS, _RIDGE_OF_NEIGHBOURS = 0.1, 0.3  # of the mean variance: a small cluster knows few directions

Rows = Float[Tensor, "row number"]


@dataclass(frozen=True)
class _Level:
    """Centres of the deeper facet's clusters, among rows and as it reads them, and the directions of what is left."""

    centres: Float[Tensor, "cluster main"]
    seen_centres: Float[Tensor, "cluster deeper"]
    project: Float[Tensor, "main read"]


class ResidualDirections(nn.Module):
    """Fixed maps from rows to what each facet reads, with a leading seed axis; statistics of training rows.

    They are buffers: a model's weights file holds them, and nobody trains them.

    Args:
        n_seeds: models side by side.
        n_numbers: of one row.
        n_components: clusters of each facet, shallowest first; the centres of facet j are as many.

    Attributes:
        widths: directions that each facet reads, shallowest first.
    """

    def __init__(self, n_seeds: int, n_numbers: int, n_components: tuple[int, ...]) -> None:
        super().__init__()
        n_main, deepest = min(MAIN, n_numbers), len(n_components) - 1
        self.widths = tuple(min(HALF_WHITENED if j == deepest else READ, n_numbers) for j in range(len(n_components)))
        self.n_components = n_components
        self.register_buffer("offset", torch.zeros(n_seeds, n_numbers))
        self.register_buffer("main", torch.zeros(n_seeds, n_numbers, n_main))
        for j, width in enumerate(self.widths):
            self.register_buffer(f"project_{j}", torch.zeros(n_seeds, n_main, width))
            if j < deepest:
                n_centres = n_components[j + 1]
                self.register_buffer(f"centres_{j}", torch.zeros(n_seeds, n_centres, n_main))
                self.register_buffer(f"seen_centres_{j}", torch.zeros(n_seeds, n_centres, self.widths[j + 1]))

    def forward(self, x: Float[Tensor, "seed batch number"]) -> list[Float[Tensor, "seed batch _"]]:
        """Return what each facet reads, shallowest first."""
        left = (x - self.offset[:, None].to(x.dtype)) @ self.main.to(x.dtype)
        read = [left @ self._of("project", len(self.widths) - 1, x)]
        for j in reversed(range(len(self.widths) - 1)):
            left = left - self._centre(j, read[0])
            read.insert(0, left @ self._of("project", j, x))
        return read

    def restore(self, read: list[Float[Tensor, "seed batch _"]]) -> Float[Tensor, "seed batch number"]:
        """Return rows of which each facet reads so: the deeper ones' centres, and what the shallowest says beside."""
        project = self._of("project", 0, read[0])
        row = read[0] @ torch.linalg.pinv(project.double()).to(project.dtype)
        for j in range(len(self.widths) - 1):
            row = row + self._centre(j, read[j + 1])
        return row @ self.main.to(row.dtype).mT + self.offset[:, None].to(row.dtype)

    @torch.no_grad()
    def learn(self, rows: Rows, seed_index: int, random_state: int) -> None:
        """Take the statistics of training rows for one model of the seed axis.

        Raises:
            ModelError: all rows are the same.
        """
        rows = rows.double()
        offset = rows.mean(0)
        main = _main_directions(rows - offset)
        left = (rows - offset) @ main
        deepest = len(self.widths) - 1
        projects = {deepest: _half_whitened(left, self.widths[deepest])}
        read = left @ projects[deepest]
        self._place("offset", seed_index, offset)
        self._place("main", seed_index, main)
        for j in reversed(range(deepest)):
            level, clusters = _next_level(left, read, self.n_components[j + 1], self.widths[j], random_state)
            left, projects[j] = left - level.centres[clusters], level.project
            read = left @ level.project
            self._place(f"centres_{j}", seed_index, level.centres)
            self._place(f"seen_centres_{j}", seed_index, level.seen_centres)
        for j, project in projects.items():
            self._place(f"project_{j}", seed_index, project)

    def _place(self, name: str, index: int, value: Tensor) -> None:
        """Copy a value; where rows have fewer directions than there is room for, the rest stays 0."""
        room = self.get_buffer(name)[index]
        room.zero_()
        room[tuple(slice(n) for n in value.shape)].copy_(value)

    def _of(self, name: str, j: int, like: Tensor) -> Tensor:
        return self.get_buffer(f"{name}_{j}").to(like.dtype)

    def _centre(self, j: int, read: Float[Tensor, "seed batch _"]) -> Float[Tensor, "seed batch main"]:
        """Return the centre of each row's cluster in facet j + 1, by what that facet reads."""
        nearest = torch.cdist(read, self._of("seen_centres", j, read)).argmin(-1)
        centres = self._of("centres", j, read)
        return centres.gather(1, nearest[..., None].expand(-1, -1, centres.shape[2]))


def _main_directions(centred: Rows) -> Float[Tensor, "number main"]:
    """Return the orthonormal directions of most variance, at most as many as rows tell apart."""
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    variance, directions = variance.flip(0)[:MAIN], directions.flip(1)[:, :MAIN]
    if not variance[0] > 0:
        raise ModelError(f"rows of features must differ, got {len(centred)} rows that are all the same; look at them")
    return directions[:, variance > _LEAST_VARIANCE * variance[0]]


def _half_whitened(left: Rows, n_read: int) -> Float[Tensor, "main read"]:
    """Return the main directions, each over the root of its deviation, in units of how much neighbours differ."""
    project = torch.diag(left.var(0).clamp_min(torch.finfo(left.dtype).tiny) ** -0.25)[:, :n_read]
    read = left @ project
    return project / _of_neighbours(read).diagonal().mean().sqrt()


def _next_level(left: Rows, read: Rows, n_clusters: int, n_read: int, random_state: int) -> tuple[_Level, Tensor]:
    """Return what a facet reads of what the clusters of the deeper one leave, and these clusters."""
    from sklearn.cluster import KMeans  # half of the start of a stage that fits nothing

    n_clusters = min(n_clusters, len(left))
    clusters = torch.from_numpy(KMeans(n_clusters, n_init=10, random_state=random_state).fit(read.numpy()).labels_)
    clusters = clusters.long()
    centres, seen = _means(left, clusters, n_clusters), _means(read, clusters, n_clusters)
    own = left - centres[clusters]
    common = _common_covariance([own[clusters == c] for c in range(n_clusters)], own)
    return _Level(centres, seen, _discriminants(common, _of_neighbours(own), n_read)), clusters


def _means(rows: Rows, clusters: Int64[Tensor, " row"], n_clusters: int) -> Float[Tensor, "cluster number"]:
    return torch.stack([rows[clusters == c].mean(0) for c in range(n_clusters)])


def _common_covariance(parts: list[Rows], whole: Rows) -> Float[Tensor, "main main"]:
    """Return exp of the mean logarithm of the parts' covariances, each with a ridge."""
    ridge = _RIDGE_OF_CLUSTERS * whole.var(0).mean() * torch.eye(whole.shape[1], dtype=whole.dtype)
    logarithms = [_of_spectrum(part.T @ part / len(part) + ridge, torch.log) for part in parts]
    return _of_spectrum(torch.stack(logarithms).mean(0), torch.exp)


def _of_spectrum(matrix: Tensor, function: torch.nn.Module | object) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * function(values) @ vectors.T  # type: ignore[operator]


def _of_neighbours(rows: Rows) -> Float[Tensor, "number number"]:
    """Return half the mean square of differences between rows and their nearest neighbours by angle."""
    rows = rows[:: -(-len(rows) // _MOST_ROWS)]
    unit = nn.functional.normalize(rows - rows.mean(0), dim=1)
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=rows.dtype)
    n_nearest = min(_N_NEIGHBOURS, len(rows) - 1)
    for start in range(0, len(rows), 1024):
        block = slice(start, start + 1024)
        nearest = (unit[block] @ unit.T).topk(n_nearest + 1, dim=1).indices[:, 1:]  # the first is the row itself
        difference = (rows[block][:, None] - rows[nearest]).flatten(0, 1)
        total += difference.T @ difference
    return total / (2 * len(rows) * n_nearest)


def _discriminants(common: Tensor, neighbours: Tensor, n_read: int) -> Float[Tensor, "main read"]:
    """Return the directions of most common variance over that of neighbours, whose deviation becomes the unit.

    A direction counts by the part of its variance that neighbours do not explain.
    """
    ridge = _RIDGE_OF_NEIGHBOURS * neighbours.diagonal().mean() * torch.eye(len(neighbours), dtype=neighbours.dtype)
    inverse = torch.linalg.inv(torch.linalg.cholesky(neighbours + ridge))
    ratio, vectors = torch.linalg.eigh(inverse @ common @ inverse.T)
    ratio, vectors = ratio.flip(0)[:n_read], vectors.flip(1)[:, :n_read]
    return inverse.T @ vectors * (1 - 1 / ratio.clamp_min(1 + 1e-3)).sqrt()

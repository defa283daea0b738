"""What each facet reads of a row of features: directions of what the deeper facets' clusters leave."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.model.likelihoods.base import at_least_single

MAIN = 128  # directions that are kept of rows at most


class ResidualDirections(nn.Module):
    """Fixed maps from rows to what each facet reads, with a leading seed axis.

    They are statistics of training rows (:mod:`pipeline.mixture.directions`), kept as buffers: a model's weights file
    holds them, and nobody trains them.

    Args:
        n_seeds: models side by side.
        n_numbers: of one row.
        n_components: clusters of each facet, shallowest first; the centres of facet j are as many.
        n_read: directions that each facet reads at most, shallowest first.

    Attributes:
        n_main: directions that are kept of rows.
        widths: directions that each facet reads, shallowest first.
    """

    offset: Tensor
    main: Tensor

    def __init__(self, n_seeds: int, n_numbers: int, n_components: tuple[int, ...], n_read: tuple[int, ...]) -> None:
        super().__init__()
        self.n_main, deepest = min(MAIN, n_numbers), len(n_components) - 1
        self.widths = tuple(min(n, n_numbers) for n in n_read)
        self.n_components = n_components
        self.register_buffer("offset", torch.zeros(n_seeds, n_numbers))
        self.register_buffer("main", torch.zeros(n_seeds, n_numbers, self.n_main))
        for j, width in enumerate(self.widths):
            self.register_buffer(f"project_{j}", torch.zeros(n_seeds, self.n_main, width))
            if j < deepest:
                n_centres = n_components[j + 1]
                self.register_buffer(f"centres_{j}", torch.zeros(n_seeds, n_centres, self.n_main))
                self.register_buffer(f"seen_centres_{j}", torch.zeros(n_seeds, n_centres, self.widths[j + 1]))

    def forward(self, x: Float[Tensor, "seed batch number"]) -> list[Float[Tensor, "seed batch _"]]:
        """Return what each facet reads, shallowest first; computed in single precision at least.

        Which centre is nearest is a decision, and in half the digits another one; nor has every product of few rows a
        kernel there.
        """
        given, x = x.dtype, at_least_single(x)
        left = (x - self.offset[:, None].to(x.dtype)) @ self.main.to(x.dtype)
        read = [left @ self._of("project", len(self.widths) - 1, x)]
        for j in reversed(range(len(self.widths) - 1)):
            left = left - self._centre(j, read[0])
            read.insert(0, left @ self._of("project", j, x))
        return [own.to(given) for own in read]

    def restore(self, read: list[Float[Tensor, "seed batch _"]]) -> Float[Tensor, "seed batch number"]:
        """Return rows of which each facet reads so: the deeper ones' centres, and what the shallowest says beside."""
        read = [at_least_single(own) for own in read]
        project = self._of("project", 0, read[0])
        row = read[0] @ torch.linalg.pinv(project.double()).to(project.dtype)
        for j in range(len(self.widths) - 1):
            row = row + self._centre(j, read[j + 1])
        return row @ self.main.to(row.dtype).mT + self.offset[:, None].to(row.dtype)

    @torch.no_grad()
    def place(self, index: int, values: Mapping[str, Tensor]) -> None:
        """Take learned statistics, by buffer, into one model of the seed axis.

        Where rows have fewer directions than there is room for, the rest stays 0.
        """
        for name, value in values.items():
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

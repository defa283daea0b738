"""The views that facets are trained on: which facets have some, and from which random numbers.

The posterior of a facet that ignores something comes from a view T(x) of the image; the other facets and the decoder
have the image itself. The bound stays one for every T: any density of the latents given x may take the place of the
posterior. So nothing is learned from T but what the decoder finds in z; a view's pixels are never scored.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.core.seeding import torch_generator
from pipeline.training.schedule import Chunk
from pipeline.views import View


class FacetViews:
    """The views of all facets that ignore something.

    Args:
        ignores: one entry a facet.

    Attributes:
        facets: which of them ignore something.
        n_numbers: random numbers that all views of one image take together.
    """

    def __init__(self, ignores: Sequence[Mapping[str, float] | None]) -> None:
        self._views = {facet: View(ignored) for facet, ignored in enumerate(ignores) if ignored}
        self._split = [view.n_numbers for view in self._views.values()]
        self.facets = tuple(self._views)
        self.n_numbers = sum(self._split)

    def draw(
        self, seed: int, chunk: Chunk, n_images: int, device: torch.device, dtype: torch.dtype
    ) -> Float[Tensor, "step batch number"]:
        """Return uniform random numbers for the views of a chunk's steps, each facet's from a stream of its own.

        Args:
            seed: the model's seed.
            chunk: which steps.
            n_images: of a batch.
            device: where they are drawn; other devices give other numbers.
            dtype: precision of the numbers.
        """
        drawn = []
        for facet, n_numbers in zip(self.facets, self._split, strict=True):
            generator = torch_generator(seed, "train", "views", facet, chunk.start, device=device)
            shape = (chunk.n_steps, n_images, n_numbers)
            drawn.append(torch.rand(shape, generator=generator, device=device, dtype=dtype))
        return torch.cat(drawn, dim=-1)

    def of_facets(
        self,
        facets: Sequence[int],
        x: Float[Tensor, "seed batch channel height width"],
        numbers: Float[Tensor, "seed batch number"],
    ) -> list[Float[Tensor, "seed batch channel height width"]]:
        """Return a view of every image for each of some facets.

        Args:
            facets: of :attr:`facets`.
            x: the images as floats.
            numbers: from :meth:`draw`.
        """
        own = dict(zip(self.facets, numbers.flatten(0, 1).split(self._split, dim=-1), strict=True))
        images = x.flatten(0, 1)
        return [self._views[facet](images, own[facet]).unflatten(0, x.shape[:2]) for facet in facets]

"""The views that one facet is trained on: all that it is to ignore, one transformation after another."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from pipeline.config.ignores import TRANSFORMATIONS
from pipeline.config.lookup import look_up
from pipeline.core.errors import ConfigError
from pipeline.datasets.store.spec import InputSpec
from pipeline.views.base import AbstractFamily

_COLOURS = 3


class View:
    """Makes views of images for one facet.

    Args:
        ignored: amounts by name of transformation.

    Attributes:
        n_numbers: uniform random numbers that a view takes.
    """

    def __init__(self, ignored: Mapping[str, float]) -> None:
        places: dict[str, dict[str, float]] = {}
        for name, kind in TRANSFORMATIONS.items():
            if name in ignored:
                places.setdefault(kind.family, {})[name] = ignored[name]
        self._families: list[AbstractFamily] = [
            look_up("pipeline.views", place)(amounts) for place, amounts in places.items()
        ]
        self._split = [family.n_numbers for family in self._families]
        self.n_numbers = sum(self._split)

    def __call__(
        self, x: Float[Tensor, "view channel height width"], numbers: Float[Tensor, "view number"]
    ) -> Float[Tensor, "view channel height width"]:
        """Return a view of every image, with values in [0, 1] as images have.

        Args:
            x: the images, with values in [0, 1].
            numbers: from 0 to 1, uniform; the same ones give the same views.
        """
        for family, own in zip(self._families, numbers.split(self._split, dim=1), strict=True):
            x = family(x, own)
        return x.clamp(0.0, 1.0)


def check_ignored(ignores: Sequence[Mapping[str, float] | None] | None, spec: InputSpec) -> None:
    """Refuse what cannot be ignored.

    Args:
        ignores: one entry a facet, or ``None``.
        spec: what the model's inputs are.

    Raises:
        ConfigError: the inputs are no images, or have no colours.
    """
    for facet, ignored in enumerate(ignores or ()):
        if ignored and spec.kind != "pixels":
            raise ConfigError(f"train.ignores[{facet}] must be null where inputs are no images, got {spec}")
        if ignored and "hue" in ignored and spec.shape[0] != _COLOURS:
            raise ConfigError(
                f"train.ignores[{facet}].hue needs images of {_COLOURS} channels, got {spec.shape[0]}; leave it out"
            )

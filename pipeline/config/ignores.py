"""Every transformation that a facet can be trained not to see, one line each, in the order in which they are applied.

A plain table, so that parameters know all transformations without importing torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pipeline.config.parse import Amounts, Range


@dataclass(frozen=True)
class Transformation:
    """What is known of a transformation before its module is imported.

    Attributes:
        family: module and class below ``pipeline.views``; the transformations of one family are made in one go.
        amounts: how much of it a facet can ignore.
        words: what people read, with the amount for the braces.
    """

    family: str
    amounts: Range
    words: str


def _up_to(most: float) -> Range:
    return Range(0, most, open_minimum=True)


TRANSFORMATIONS = {
    "mirrored": Transformation("mirror.Mirror", _up_to(100), "mirrored left to right, {} % of the views"),
    "rotate": Transformation("affine.Affine", _up_to(180), "rotated by up to ±{}°"),
    "scale": Transformation("affine.Affine", _up_to(90), "scaled by up to ±{} %"),
    "shear": Transformation("affine.Affine", _up_to(60), "sheared by up to ±{}°"),
    "shift": Transformation("affine.Affine", _up_to(50), "shifted by up to ±{} % of each side"),
    "time_shift": Transformation("roll.Roll", _up_to(50), "columns rolled by up to ±{} % of the width"),
    "stroke": Transformation("stroke.Stroke", _up_to(1), "strokes thicker or thinner by up to {} pixels at each edge"),
    "hue": Transformation("hue.Hue", _up_to(180), "hues turned by up to ±{}°"),
    "brightness": Transformation("light.Light", _up_to(100), "brightness changed by up to ±{} %"),
    "contrast": Transformation("light.Light", _up_to(100), "contrast changed by up to ±{} %"),
    "invert": Transformation("light.Light", _up_to(100), "inverted, {} % of the views"),
    "blur": Transformation("blur.Blur", _up_to(5), "blurred by up to {} pixels"),
    "noise": Transformation("noise.Noise", _up_to(100), "noise of up to {} % of the range"),
}

Ignored = Annotated[Mapping[str, float], Amounts({name: kind.amounts for name, kind in TRANSFORMATIONS.items()})]
"""What one facet is trained not to see: amounts by name, in degrees, per cent or pixels."""


def require_entries(ignores: Sequence[Ignored | None] | None, n_facets: int) -> None:
    """Refuse more or fewer entries than facets.

    Raises:
        ValueError: there are.
    """
    if ignores is not None and len(ignores) != n_facets:
        raise ValueError(f"train.ignores needs one entry a facet ({n_facets}) or null, got {len(ignores)}")


def ignored_words(ignored: Mapping[str, float]) -> list[str]:
    """Return what a facet is trained not to see, in words for people."""
    return [kind.words.format(f"{ignored[name]:g}") for name, kind in TRANSFORMATIONS.items() if name in ignored]

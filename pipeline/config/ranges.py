"""Numbers as parameters have them, each with its bounds."""

from typing import Annotated

from pipeline.config.parse import Range

Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open_minimum=True)]
Fraction = Annotated[float, Range(0, 1)]
OpenFraction = Annotated[float, Range(0, 1, open_maximum=True)]

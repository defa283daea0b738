"""What makes of a delivery what the model in service takes."""

from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.inputs.embedded import Embedded
from pipeline.datasets.inputs.plain import GivenRows

FeatureTaker = GivenRows | Embedded
"""Makes features; their batches keep these alone."""

Taker = ImageTransform | FeatureTaker
"""Batches for a model of pixels keep the images as they came, so that a later model may take them at another size."""

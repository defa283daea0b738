"""Array types that more than one module speaks of; axis names are the glossary's."""

from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

Images = UInt8[Tensor, "batch channel height width"]
Inputs = Shaped[Tensor, "batch channel height width"]
"""What models take: uint8 pixels, or floats as they are (features are images of one channel and one row)."""

Pixels = Float[Tensor, "batch channel height width"]
Latents = Float[Tensor, "batch latent"]

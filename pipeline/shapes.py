"""Array types that more than one module speaks of; axis names are the glossary's."""

from jaxtyping import Float, UInt8
from torch import Tensor

Images = UInt8[Tensor, "batch channel height width"]
Pixels = Float[Tensor, "batch channel height width"]
Latents = Float[Tensor, "batch latent"]

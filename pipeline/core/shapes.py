"""Array types that several modules share; docs/glossary.md says what the axes count."""

from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

Images = UInt8[Tensor, "batch channel height width"]
Inputs = Shaped[Tensor, "batch channel height width"]
"""What models take, as it is stored: see :class:`pipeline.datasets.store.spec.InputSpec`."""

Pixels = Float[Tensor, "batch channel height width"]
Latents = Float[Tensor, "batch latent"]

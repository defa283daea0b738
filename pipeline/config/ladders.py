"""Every ladder of networks, one line each: its name in ``model.family``, its class, and what its ``hidden`` must be.

A plain table, so that parameters know all ladders without importing torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LadderKind:
    """What is known of a ladder before its module is imported.

    Attributes:
        network: module and class below ``pipeline.model.ladders``.
        is_shared: whether one block serves all facets; else every facet has a block of its own.
        one_width: whether each block has a single width.
        widths: where nobody says ``hidden``: width of the shallowest block, then twice as wide each, up to the second.
        takes_rows: whether it reads rows of numbers, by statistics of the training split; images are such rows, too.
    """

    network: str
    is_shared: bool = False
    one_width: bool = False
    widths: tuple[int, int] = (256, 2048)
    takes_rows: bool = False


LADDERS = {
    "dense": LadderKind("dense.DenseLadder"),
    "convolutional": LadderKind("convolutional.ConvLadder", one_width=True, widths=(32, 256)),
    "residual": LadderKind("residual.ResidualLadder", widths=(256, 256), takes_rows=True),
    "shared": LadderKind("shared.SharedTrunk", is_shared=True),
}

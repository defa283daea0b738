"""Several clusterings of the same images, as tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.estimator import MultiFacetClustering as MultiFacetClustering


def __getattr__(name: str) -> Any:
    # Loaded when it is first asked for: the command line must not wait for torch.
    if name != "MultiFacetClustering":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.estimator import MultiFacetClustering

    return MultiFacetClustering

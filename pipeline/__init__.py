"""Several clusterings of the same images, as tables."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.estimator import MultiFacetClustering as MultiFacetClustering
    from pipeline.prediction import load as load

_ROOMS = {"MultiFacetClustering": "estimator", "load": "prediction"}


def __getattr__(name: str) -> Any:
    # Loaded when it is first asked for: the command line must not wait for torch.
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.core.extras import as_missing_extra

    with as_missing_extra():
        return getattr(import_module(f"pipeline.{_ROOMS[name]}"), name)

"""Parameters: parsed once, strictly, into frozen records.

The functions that read them are loaded on first use: decoding processes need the records alone, and must start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config.load import Params as Params
    from pipeline.config.load import load_params as load_params
    from pipeline.config.resolved import load_sections as load_sections

_LOADED_LATER = {"Params": "load", "load_params": "load", "load_sections": "resolved"}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LOADED_LATER[name]}"), name)

"""What the page shows of a model: chosen, computed and written by stage report, read by the page and by publishing.

Names are loaded when they are first used: of all this only building a showcase needs the model, and with it torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.report.assets import write_assets as write_assets
    from pipeline.report.build import build_showcase as build_showcase
    from pipeline.report.corpus import open_corpus as open_corpus
    from pipeline.report.erase import erase_images as erase_images
    from pipeline.report.erase import shows_any as shows_any
    from pipeline.report.thumbnails import write_thumbnails as write_thumbnails

_MODULES = {
    "build_showcase": "build",
    "erase_images": "erase",
    "open_corpus": "corpus",
    "shows_any": "erase",
    "write_assets": "assets",
    "write_thumbnails": "thumbnails",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

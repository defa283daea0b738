"""Sources of images, the prepared store, and everything between the two.

Names are loaded when they are first used: a decoding process starts in a fraction of a second only as long as nothing
but Pillow and numpy is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.datasets.labels import labels_of_store as labels_of_store
    from pipeline.datasets.labels import read_labels as read_labels
    from pipeline.datasets.manifest import scan as scan
    from pipeline.datasets.prepare import prepare_images as prepare_images
    from pipeline.datasets.store import ImageStore as ImageStore

_MODULES = {
    "ImageStore": "store",
    "labels_of_store": "labels",
    "prepare_images": "prepare",
    "read_labels": "labels",
    "scan": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

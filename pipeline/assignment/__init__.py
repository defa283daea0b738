"""What needs a trained model and the tables' format at once: assignment files and the page's showcase.

Names are loaded when they are first used: stage assign must not depend on what only the page shows.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.assignment.assign import Shard as Shard
    from pipeline.assignment.assign import assign_shard as assign_shard
    from pipeline.assignment.assign import assign_shards as assign_shards
    from pipeline.assignment.assign import shards_of_store as shards_of_store
    from pipeline.assignment.corpus import open_corpus as open_corpus
    from pipeline.assignment.showcase import build_showcase as build_showcase

_MODULES = {
    "Shard": "assign",
    "assign_shard": "assign",
    "assign_shards": "assign",
    "build_showcase": "showcase",
    "open_corpus": "corpus",
    "shards_of_store": "assign",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

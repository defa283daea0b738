"""What people call the inputs of a model: images, or rows of a table."""

from collections.abc import Mapping
from typing import Any


def input_noun(spec: Mapping[str, Any]) -> str:
    """Return ``row`` for numbers that people brought themselves, else ``image``; features made here are of images.

    Args:
        spec: as ``model.json`` keeps it under ``input``.
    """
    return "row" if spec["kind"] == "features" and not spec.get("embedder") else "image"

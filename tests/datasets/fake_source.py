"""A source that yields what a test gives it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.image_ids import format_ids
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.identity import hash_images

Prepare = Callable[..., Path]
"""Prepare blocks as experiment ``fake``; return the prepared folder."""


@dataclass
class Fake:
    """Blocks and names in memory."""

    content: Sequence[Block]
    names: dict[str, list[str]]

    def fetch(self) -> None:
        pass

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        return {"fake": True}

    def n_images(self) -> int:
        return sum(len(block.paths) for block in self.content)

    def class_names(self) -> dict[str, list[str]]:
        return self.names

    def blocks(self) -> Iterator[Block]:
        yield from self.content


def make_images(n: int, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def make_block(images: Any, **more: Any) -> Block:
    return Block(images=images, paths=[f"{row}.png" for row in range(len(images))], **more)


def ids_of(images: np.ndarray) -> list[str]:
    return format_ids(hash_images(images), np.ones(len(images), np.int64)).astype(str).tolist()


def contents(prepared: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in prepared.iterdir()}

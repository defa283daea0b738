"""How fast image files become a shard, beside what the processors decode with the image library alone.

Decoding 500×500 pixels with that library, Pillow, takes 1.04 or 1.28 ms, the same for the life of a process and for a
reason not found (no page faults, whatever the alignment). So both sides have new processes in every round; those that
only decode have started before the clock does.
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.lines import Line, compare, report
from benchmarks.machine import peak_mib
from pipeline.config import load_params
from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard

_WORKERS = 2
_CASES = {"JPEG 64": ("JPEG", 64, 32_000), "JPEG 256": ("JPEG", 256, 12_000), "JPEG 500": ("JPEG", 500, 6000)}
_CASES |= {"PNG 28": ("PNG", 28, 32_000)}
_SHORT = ("JPEG 64", "PNG 28")
_NOTHING = ContentSet.of_ids([])


def measure(full: bool) -> list[Line]:
    """Make files and time both sides; without ``full`` two kinds of files, an eighth of them."""
    cases = (
        _CASES if full else {name: (kind, side, n // 8) for name, (kind, side, n) in _CASES.items() if name in _SHORT}
    )
    lines = [_case(name, *case, 7 if full else 3) for name, case in cases.items()]
    more = {"peak_mib": peak_mib(), "processes": _WORKERS}
    return [replace(line, more=more) for line in lines]


def _case(name: str, kind: str, side: int, n_files: int, rounds: int) -> Line:
    plain = load_params(Path(__file__).parents[1]).experiments["digits"].preprocess
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        folder = Path(root, "in")
        make_files(folder, kind, side, n_files)
        names = sorted(path.name for path in folder.iterdir())
        parts = [names[i : i + 64] for i in range(0, len(names), 64)]

        def ingest() -> None:
            with tempfile.TemporaryDirectory(dir=root) as repository:
                layout = Layout(Path(repository), "timing")
                delivery = open_delivery(layout, plain, str(folder), _WORKERS)
                transform = ImageTransform((32, 32), "stretch", "rgb")
                now = datetime.now(UTC).isoformat()
                write_shard(layout, delivery, transform, known=_NOTHING, removed=_NOTHING, created=now)

        pools = iter([stack.enter_context(_started_pool()) for _ in range(rounds + 1)])  # one to warm up

        def decode() -> None:
            pool = next(pools)
            list(pool.map(_decode, [str(folder)] * len(parts), parts))

        against = "decoding alone in as many processes"
        return compare(f"{name}, files to a shard", ingest, decode, against, rounds=rounds, items=n_files)


def _started_pool() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(_WORKERS)
    list(pool.map(time.sleep, [0.2] * _WORKERS))  # each process takes one
    return pool


def make_files(folder: Path, kind: str, side: int, n_files: int) -> None:
    """Write photograph-like files: soft shapes with a little noise, a hundred different ones, varied at one corner."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_files):
        if i < 100:
            coarse = Image.fromarray(rng.integers(0, 256, (max(2, side // 8), max(2, side // 8), 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
            _BASE[i] = (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
        pixels = _BASE[i % 100].copy()
        pixels[:8, :8] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"{i:06}.{kind.lower()}", kind, quality=88)


_BASE: dict[int, np.ndarray] = {}


def _decode(folder: str, names: Sequence[str]) -> None:
    for name in names:
        with Image.open(f"{folder}/{name}") as image:
            np.asarray(image)


if __name__ == "__main__":
    report(measure)

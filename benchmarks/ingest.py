"""How fast image files become a shard, beside what the processors decode with the image library alone.

    python -m benchmarks.ingest

Writes results/ingest.json beside this file. Both sides are timed alternately, several times, and the best counts.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.datasets.batch import open_delivery
from pipeline.datasets.shard import write_shard
from pipeline.datasets.transform import ImageTransform
from pipeline.layout import Layout
from pipeline.storage import write_json

_WORKERS = 2
_ROUNDS = 5
_CASES = {"JPEG 64": ("JPEG", 64, 8000), "JPEG 256": ("JPEG", 256, 3000), "JPEG 500": ("JPEG", 500, 1500)}
_CASES |= {"PNG 28": ("PNG", 28, 10_000)}
_NOTHING = np.empty(0, np.uint64)


def main() -> None:
    """Make files, time both sides, write."""
    plain = load_params(Path(__file__).parents[1]).experiments["digits"].preprocess
    result: dict[str, Any] = {
        "command": "python -m benchmarks.ingest",
        "machine": describe_machine(),
        "processes": _WORKERS,
    }
    for name, (kind, side, n_files) in _CASES.items():
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root, "in")
            _make_files(folder, kind, side, n_files)
            names = sorted(path.name for path in folder.iterdir())

            def ingest(root: str = root, folder: Path = folder, plain: Any = plain) -> None:
                with tempfile.TemporaryDirectory(dir=root) as repository:
                    layout = Layout(Path(repository), "timing")
                    delivery = open_delivery(layout, plain, str(folder), _WORKERS)
                    transform = ImageTransform((32, 32), "stretch", "rgb")
                    now = datetime.now(UTC).isoformat()
                    write_shard(layout, delivery, transform, known=_NOTHING, removed=_NOTHING, created=now)

            with ProcessPoolExecutor(_WORKERS) as pool:

                def decode(pool: Any = pool, folder: Path = folder, names: list[str] = names) -> None:
                    parts = [names[i : i + 64] for i in range(0, len(names), 64)]
                    list(pool.map(_decode, [str(folder)] * len(parts), parts))

                decode()
                times = _best_of(ingest, decode)
        rates = [round(n_files / seconds) for seconds in times]
        result[name] = {"files": n_files, "ingest_per_second": rates[0], "decode_per_second": rates[1]}
        result[name]["ratio"] = round(times[1] / times[0], 3)
        print(name, result[name], file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_mebibytes"] = round(peak / (1024 if sys.platform == "linux" else 2**20))
    write_json(Path(__file__).parent / "results" / "ingest.json", result)
    print(json.dumps(result, indent=2))


def _make_files(folder: Path, kind: str, side: int, n_files: int) -> None:
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


def _decode(folder: str, names: list[str]) -> None:
    for name in names:
        with Image.open(f"{folder}/{name}") as image:
            np.asarray(image)


def _best_of(*sides: Callable[[], None]) -> list[float]:
    best = [float("inf")] * len(sides)
    for _ in range(_ROUNDS):
        for i, side in enumerate(sides):
            start = time.perf_counter()
            side()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()

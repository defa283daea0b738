"""Assignment, from prepared HDF5 to published Parquet, beside the matrix products of the encoder alone."""

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import toy
from benchmarks.lines import Line, Side, compare, report
from pipeline.assignment import assign_shards, shards_of_store
from pipeline.model import load_model
from pipeline.model.precision import multiplies_bfloat16
from pipeline.tables import History

_BLOCK = 4096
_N_WORKERS = 2


def measure(full: bool) -> list[Line]:
    """Time assignment and publishing of MNIST's training images, and what bfloat16 does to them."""
    rounds = 9 if full else 3
    images, name = toy.load_images(60_000)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model, store = root / "model", root / "train.h5"
        version = toy.write_model(model, images[:3200])
        toy.write_images(store, images, "train")
        toy.write_prepared_tables(model / "prepared", {"train": (0, len(images))})

        def assign() -> None:
            folder = model / "assignments"
            shutil.rmtree(folder, ignore_errors=True)
            assign_shards(shards_of_store(store, folder), model, toy.assign_params(), None, lambda _: None)

        def assign_and_publish() -> None:
            assign()
            published = root / "published"
            shutil.rmtree(published, ignore_errors=True)
            shutil.copytree(model, published / "models" / version)
            History(published).publish_model(version, batches=root / "batches")

        products = _Products(model, len(images))
        against = f"the encoder's products in {products.precision}, two threads"
        works = (assign, assign_and_publish)
        lines = [
            compare(f"assign, {name}", assign, products, against, rounds=rounds, items=len(images)),
            compare("assign and publish", assign_and_publish, products, against, rounds=rounds, items=len(images)),
            _low_precision(model, images[:8192], rounds),
        ]
        lines[:2] = [
            replace(line, more=_processors(work, len(images))) for line, work in zip(lines, works, strict=False)
        ]
    return lines


def _processors(work: Side, n_images: int) -> dict[str, float]:
    """Return processor time, all threads together: it says more than the clock where others work as well."""
    start = time.process_time()
    work()
    return {"processor_microseconds_an_image": round((time.process_time() - start) / n_images * 1e6, 2)}


class _Products:
    """The products of the encoder for as many images as one store holds, block by block on two threads."""

    def __init__(self, model: Path, n_images: int) -> None:
        self._n_blocks = -(-n_images // _BLOCK)
        network = load_model(model).vae.network
        low = multiplies_bfloat16(torch.device("cpu"))
        self._dtype = torch.bfloat16 if low else torch.float32
        self.precision = "bfloat16" if low else "float32"
        shapes = [value.shape[1:] for key, value in network.state_dict().items() if _is_product(key)]
        self._factors = [(torch.randn(_BLOCK, n_in), torch.randn(n_in, n_out)) for n_out, n_in in shapes]
        self._factors = [(x.to(self._dtype), w.to(self._dtype)) for x, w in self._factors]

    def __call__(self) -> None:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with ThreadPoolExecutor(_N_WORKERS) as pool:
            list(pool.map(self._block, range(self._n_blocks)))
        torch.set_num_threads(n_threads)

    def _block(self, _number: int) -> None:
        for x, weight in self._factors:
            torch.mm(x, weight)


def _is_product(key: str) -> bool:
    return key.startswith(("encoder_blocks", "heads")) and key.endswith("weight")


def _low_precision(folder: Path, images: np.ndarray, rounds: int) -> Line:
    exact, low = load_model(folder), load_model(folder, precision=torch.bfloat16)
    pixels = torch.from_numpy(images)
    torch.set_num_threads(1)
    line = compare(
        "assign in bfloat16, doubtful images in float32",
        lambda: [low.assign(block) for block in pixels.split(_BLOCK)],
        lambda: [exact.assign(block) for block in pixels.split(_BLOCK)],
        "all in float32, one thread",
        rounds=rounds,
        items=len(images),
    )
    pairs = list(zip(exact.assign(pixels), low.assign(pixels), strict=True))
    more = {
        "same_cluster": [float((one.cluster_id == two.cluster_id).mean()) for one, two in pairs],
        "largest_difference_of_confidence": [
            float(np.abs(one.confidence - two.confidence).max()) for one, two in pairs
        ],
    }
    return replace(line, more=more)


if __name__ == "__main__":
    report(measure)

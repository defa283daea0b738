"""Drift on real MNIST: shifted batches stand out, others are left in peace. Minutes of training, so in `make soak`."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.ndimage import rotate
from sklearn.metrics import roc_auc_score

from benchmarks.machine import describe_machine
from pipeline.monitoring.drift import FacetSample, measure_drift, read_samples
from pipeline.operations.ingest import ingest
from pipeline.tables import read
from tests.operations.tiny import Tiny
from tests.repository import EXPERIMENT, PROJECT

REAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"

N_BATCHES, N_IMAGES = 40, 250
N_DRAWN = 2000


def train_images() -> np.ndarray:
    """Return the training split in a random order: it is sorted by writer, and other writers are a shift."""
    raw = gzip.decompress((REAL / "train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    return images[np.random.default_rng(0).permutation(len(images))]


def shifted(images: np.ndarray, kind: int, generator: np.random.Generator) -> np.ndarray:
    """Invert, rotate by 45 degrees, or add noise."""
    if kind == 0:
        return 255 - images
    if kind == 1:
        return np.stack([rotate(image, 45, reshape=False, order=1) for image in images])
    return np.clip(images + generator.normal(0, 64, images.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def mnist(tmp_path: Path) -> Tiny:
    """The settings of digits on 12,000 images of the training split, published; 8,000 more are the reference."""
    root = tmp_path / "mnist"
    (root / "data" / "own").mkdir(parents=True)
    np.save(root / "data" / "own" / "images.npy", train_images()[:20_000])
    sections = yaml.safe_load((PROJECT / "params.yaml").read_text())["experiments"]["digits_ladder"]
    sections["seeds"] = [0]
    sections["preprocess"] = {
        **sections["preprocess"],
        "source": "npy",
        "path": "data/own/images.npy",
        "test_fraction": 0.4,
    }
    phases = [{**phase, "epochs": 8} for phase in sections["train"]["phases"]]
    sections["train"] = {**sections["train"], "batch_size": 128, "phases": phases}
    params = {"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    made = Tiny(root)
    made.rebuild()
    return made


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.skipif(not REAL.exists(), reason="no real files: put them at ../shared/data/mnist")
def test_shifted_batches_stand_out(mnist: Tiny, tmp_path: Path) -> None:
    fresh = train_images()[50_000:].reshape(N_BATCHES, N_IMAGES, 28, 28)
    generator = np.random.default_rng(0)
    is_shifted = np.arange(N_BATCHES) % 2 == 1
    scores: list[float] = []
    flagged: list[bool] = []
    for number, images in enumerate(fresh):
        path = tmp_path / f"{number}.npy"
        np.save(path, shifted(images, number // 2 % 3, generator) if is_shifted[number] else images)
        result = ingest(mnist.layout, mnist.params, str(path))
        assert result.drift is not None
        scores.append(max(result.drift))
        flagged.append(bool(result.drifted))
    batches = read(EXPERIMENT, "batches", root=mnist.root).set_index("batch_id")
    assert batches["drifted"].sum() == sum(flagged)

    area = roc_auc_score(is_shifted, scores)
    rate = false_alarm_rate(mnist, generator)
    result = {
        "command": "make soak",
        "what": f"{N_BATCHES} batches of {N_IMAGES} real MNIST images, half of them inverted, rotated by 45° or noisy",
        "roc_auc": round(float(area), 4),
        "shifted_and_flagged": int(np.sum(np.array(flagged) & is_shifted)),
        "unshifted_and_flagged": int(np.sum(np.array(flagged) & ~is_shifted)),
        "false_alarm_rate": round(rate, 4),
        "false_alarm_rate_of": f"{N_DRAWN} unshifted batches, each drawn from the unshifted images",
        "false_alarm_rate_set": mnist.params.ingest.drift.false_alarm_rate,
        "scores": [round(score, 2) for score in scores],
        "machine": describe_machine(),
    }
    (PROJECT / "benchmarks" / "results" / "drift-mnist.json").write_text(json.dumps(result, indent=2) + "\n")
    assert area >= 0.95
    # Three standard errors of a rate measured on so many batches.
    allowed = mnist.params.ingest.drift.false_alarm_rate
    error = np.sqrt(allowed * (1 - allowed))
    assert rate <= allowed + 3 * error / np.sqrt(N_DRAWN)
    assert np.mean(np.array(flagged)[~is_shifted]) <= allowed + 3 * error / np.sqrt(N_BATCHES / 2)


def false_alarm_rate(mnist: Tiny, generator: np.random.Generator) -> float:
    """Return how many of the batches drawn at random from held-out, unshifted images are flagged."""
    model = mnist.history.model_folder()
    reference = read_samples(model / "assignments" / "test", 2)
    params = mnist.params.ingest.drift
    n_reference = len(reference[0].cluster_id)
    n_flagged = 0
    for _ in range(N_DRAWN):
        order = generator.permutation(n_reference)
        batch, rest = order[:N_IMAGES], order[N_IMAGES:]
        drift = measure_drift(*[[choose(sample, part) for sample in reference] for part in (rest, batch)], params)
        assert drift is not None
        n_flagged += drift.drifted
    return n_flagged / N_DRAWN


def choose(sample: FacetSample, which: np.ndarray) -> FacetSample:
    return FacetSample(sample.cluster_id[which], sample.typicality[which])

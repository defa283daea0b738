"""An experiment on rows of numbers instead of images: from files to published tables, and new batches of rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.core.errors import DataError
from pipeline.core.storage import write_json
from pipeline.datasets.delivery.preparation import model_transform
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import load_model
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import remove
from pipeline.operations.shard_faults import shard_faults
from pipeline.prediction import load
from pipeline.tables import read
from stages import preprocess
from tests.operations.tiny import EXPERIMENT, Tiny
from tests.repository import tiny_experiment

WIDTH = 6
_RNG = np.random.default_rng(0)
CENTRES = _RNG.normal(0, 40, (3, WIDTH))


def rows_of(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows far outside [0, 1] in three heaps, and the heap of each."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, n)
    return (CENTRES[kinds] + rng.normal(0, 1, (n, WIDTH))).astype(np.float32), kinds


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("rows")
    sections = tiny_experiment()
    sections["seeds"] = [0]
    sections["preprocess"] |= {"source": "npy", "path": "data/own/rows.npz"}
    sections["model"] |= {"output": "linear", "sigma": 20.0, "n_components": [3, 3]}
    sections["score"] |= {"baselines": False}
    params = {"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    experiment = Tiny(root)
    for path in (experiment.layout.joined, experiment.layout.removed):
        path.parent.mkdir(parents=True)
        write_json(path, [])
    rows, kinds = rows_of(120, 0)
    rows[5, 2] = np.nan
    (root / "data" / "own").mkdir()
    np.savez(root / "data" / "own" / "rows.npz", features=rows, kind=kinds)
    assert experiment.rebuild() == 1
    return experiment


@pytest.mark.no_shapes  # of the stages; their parts have tests of their own
def test_rows_are_trained_assigned_and_published(published: Tiny) -> None:
    _, kinds = rows_of(120, 0)
    images = read(EXPERIMENT, "images", root=published.root)
    classes = {row["image_id"]: kinds[int(row["path"].split("[")[1][:-1])] for _, row in images.iterrows()}
    assert published.image_ids() == sorted(classes)
    assert len(classes) == 119

    facet = read(EXPERIMENT, "facet_1", root=published.root)
    pairs = {(row["cluster_id"], classes[row["image_id"]]) for _, row in facet.iterrows()}
    assert len(pairs) == 3  # clusters 80 apart and 1 wide: each class is one cluster

    folder = published.history.model_folder()
    assert load_model(folder).spec == InputSpec.features(WIDTH)
    with pytest.raises(DataError, match=r"needs a model of pixels, but m-.* takes float32 features 1×1×6"):
        model_transform(folder)
    refused = (
        r"load takes models of pixels, but m-.* takes float32 features 1×1×6; in its project, facets ingest tiny PATH"
    )
    with pytest.raises(DataError, match=rf"{refused} assigns new rows, and its tables"):
        load(published.layout.published)
    assert (published.layout.published / "report.html").stat().st_size > 0


def test_new_rows_get_clusters_without_those_that_are_there(published: Tiny, tmp_path: Path) -> None:
    experiment = published.copy(tmp_path / "copy")
    rows, kinds = rows_of(30, 1)
    known, _ = rows_of(120, 0)
    rows = np.concatenate([rows, known[:2], rows[:1]])
    rows[4, 0] = np.inf
    pq.write_table(pa.table({"embedding": list(rows)}), tmp_path / "new.parquet")
    result = ingest(experiment.layout, experiment.params, str(tmp_path / "new.parquet"))
    assert (result.n_images, result.duplicates, len(result.quarantined), result.faults) == (29, 3, 1, ())
    assert (result.noun, result.quarantined[0][0]) == ("row", "new.parquet[4]")
    assert len(experiment.image_ids(result.batch_id)) == 29
    images = read(EXPERIMENT, "images", root=experiment.root)
    own = images[images["batch_id"] == result.batch_id].set_index("image_id")["path"]
    facet = read(EXPERIMENT, "facet_1", root=experiment.root).set_index("image_id")["cluster_id"]
    pairs = {(facet[image], kinds[int(path.split("[")[1][:-1])]) for image, path in own.items()}
    assert len(pairs) == 3
    assert shard_faults(experiment.layout) == []

    # A batch loses rows, and what is left joins the next model.
    remove(experiment.layout, image_ids=[own.index[0]])
    assert len(experiment.image_ids(result.batch_id)) == 28
    write_json(experiment.layout.joined, [result.batch_id])
    preprocess.run(experiment.layout, experiment.params)
    with ImageStore(experiment.layout.prepared / "train.h5") as store:
        joined = store.batch_ids() == result.batch_id
        assert sorted(store.image_ids()[joined]) == sorted(own.index[1:])
        places = [int(own[image].split("[")[1][:-1]) for image in store.image_ids()[joined]]
        assert np.array_equal(store.take(np.flatnonzero(joined)).reshape(-1, WIDTH), rows[places])


NARROW = np.zeros((4, 5), np.float32)
REFUSED = {
    "another width": (NARROW, r"x\.npy must hold rows of 6 numbers .*, as the model in service takes, got rows of 5"),
    "images": (np.zeros((4, 8, 8), np.uint8), r"must hold rows of 6 numbers .* got images; make them as those before"),
    "three axes of any numbers": (np.full((4, 2, 3), 9.5), "must hold rows of 6 numbers .* got images"),
    "a single number": (np.float32(1), "must be an array of images or rows, got a single number"),
    "whole numbers": (np.zeros((4, 6), np.int64), r"must hold floats as rows \(n, features\), got int64"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_delivery_of_something_else_is_refused_as_a_whole(published: Tiny, tmp_path: Path, what: str) -> None:
    array, message = REFUSED[what]
    np.save(tmp_path / "x.npy", array)
    before = sorted(published.layout.batches.iterdir()) if published.layout.batches.exists() else []
    with pytest.raises(DataError, match=message) as error:
        ingest(published.layout, published.params, str(tmp_path / "x.npy"))
    assert "\n" not in str(error.value)
    after = sorted(published.layout.batches.iterdir()) if published.layout.batches.exists() else []
    assert [path for path in after if path.name != "incoming"] == before
    assert published.history.served().version == 1


def test_rows_for_a_model_of_images_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 6), np.float32))
    with pytest.raises(DataError, match=r"must hold images, as the model in service takes, got rows of 6 numbers"):
        ingest(tiny.layout, tiny.params, str(tmp_path / "x.npy"))

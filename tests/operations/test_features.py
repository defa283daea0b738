"""An experiment on features instead of images: from a store of floats to published tables."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.core.errors import DataError
from pipeline.core.storage import write_json
from pipeline.datasets.delivery.preparation import model_transform
from pipeline.datasets.prepare.quarantine import write_quarantine_table
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.store.identity import format_ids
from pipeline.datasets.store.labels import write_labels
from pipeline.datasets.store.spec import InputSpec, Split
from pipeline.datasets.store.writer import write_store
from pipeline.model import load_model
from pipeline.operations.publish import publish_staged
from pipeline.operations.stage_model import stage_model
from pipeline.tables import read
from stages import assign, init_mog, report, score, train
from tests.operations.tiny import EXPERIMENT, Tiny
from tests.repository import tiny_experiment

SPEC = InputSpec("features", "float32", (1, 1, 6), is_bounded=False)
SIZES: dict[Split, int] = {"train": 96, "test": 24}


def write_features(experiment: Tiny) -> dict[str, int]:
    """Write what stage preprocess leaves, of numbers far outside [0, 1]; return the class of each id."""
    rng = np.random.default_rng(0)
    prepared = experiment.layout.prepared
    centres = rng.normal(0, 40, (3, 6))
    classes = {split: rng.integers(0, 3, n).astype(np.int32) for split, n in SIZES.items()}
    ids = {split: format_ids(rng.integers(1, 2**60, n, np.uint64), np.ones(n, np.int64)) for split, n in SIZES.items()}
    for split, labels in classes.items():
        rows = (centres[labels] + rng.normal(0, 1, (len(labels), 6))).astype(np.float32)
        with write_store(prepared / f"{split}.h5", SPEC, source="toy", split_rule="drawn") as writer:
            writer.append(rows[:, None, None], ids[split], np.full(len(rows), split))
    write_labels(prepared, ids, {split: {"kind": labels} for split, labels in classes.items()}, {})
    names = np.concatenate([np.full(n, split) for split, n in SIZES.items()])
    write_images_table(
        prepared / "images.parquet",
        np.concatenate(list(ids.values())),
        names,
        np.arange(len(names)),
        pa.nulls(len(names), pa.string()),
        np.ones((len(names), 2), np.int32),
    )
    write_quarantine_table(prepared / "quarantine.parquet", [])
    known = zip(np.concatenate(list(ids.values())).astype(str), np.concatenate(list(classes.values())), strict=True)
    return {image_id: int(label) for image_id, label in known}


@pytest.mark.no_shapes  # of the stages; their parts have tests of their own
def test_features_are_trained_assigned_and_published(tmp_path: Path) -> None:
    sections = tiny_experiment()
    sections["seeds"] = [0]
    sections["model"] |= {"output": "linear", "sigma": 20.0, "n_components": [3, 3]}
    sections["score"] |= {"baselines": False}
    params = {"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    experiment = Tiny(tmp_path)
    for path in (experiment.layout.joined, experiment.layout.removed):
        path.parent.mkdir(parents=True)
        write_json(path, [])
    classes = write_features(experiment)
    for stage in (init_mog, train, score, assign, report):
        stage.run(experiment.layout, experiment.params)
    model_version = stage_model(experiment.layout, experiment.params)
    assert publish_staged(experiment.layout, experiment.params, model_version) == (1, True)
    assert experiment.image_ids() == sorted(classes)

    facet = read(EXPERIMENT, "facet_1", root=tmp_path)
    pairs = {(row["cluster_id"], classes[row["image_id"]]) for _, row in facet.iterrows()}
    assert len(pairs) == 3  # clusters 80 apart and 1 wide: each class is one cluster

    folder = experiment.history.model_folder(model_version)
    assert load_model(folder).spec == SPEC
    with pytest.raises(DataError, match=r"needs a model of pixels, but m-.* takes float32 features 1×1×6"):
        model_transform(folder)
    assert (experiment.layout.published / "report.html").stat().st_size > 0

"""By which images the benchmark of selection judges seeds."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.selection import held_out_scores
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.labels import read_factors
from pipeline.model import load_model
from pipeline.training.images import load_training_images
from tests.evaluation.trained import experiment


def test_seeds_are_judged_by_images_held_out_of_training(tmp_path) -> None:
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4))
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        digit = read_factors(layout.prepared, train, test)["digit"].train
    images = load_training_images(layout.prepared / "train.h5", 0.5, torch.device("cpu"))
    rows = images.validation_rows
    expected = []
    for seed in (5, 6):
        model = load_model(layout.artifact("model"), seed)
        clusters = [model.log_resp(j, qz, "exact").argmax(1) for j, qz in enumerate(model.encode(images.some(rows)))]
        expected.append(max(normalized_mutual_info_score(digit[rows], ids) for ids in clusters))
    np.testing.assert_allclose(held_out_scores(layout, ["5", "6"], 0.5), expected)
    with pytest.raises(SystemExit, match="must be above 0"):
        held_out_scores(layout, ["5"], 0.0)

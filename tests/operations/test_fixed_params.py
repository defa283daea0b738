"""What the ids of published images depend on stays as it was when they were published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.core.errors import ConfigError
from pipeline.datasets.store.images import ImageStore
from pipeline.operations import rebuild as rebuilding
from pipeline.operations.fixed_params import require_fixed_params, require_trained_params
from pipeline.operations.ingest import ingest
from pipeline.operations.stage_model import stage_model
from tests.operations.tiny import EXPERIMENT, Tiny, new_images

pytestmark = pytest.mark.no_shapes  # the tests of deliveries and assignments check them


@pytest.fixture
def changed(tiny: Tiny) -> Tiny:
    """The published experiment, whose parameters were edited since."""
    path = tiny.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["experiments"][EXPERIMENT]["preprocess"]["brightest"] = 4095
    path.write_text(yaml.safe_dump(params))
    return tiny


def test_another_brightest_is_refused_before_anything_is_computed_or_written(
    changed: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = (changed.history.model_folder() / "params.json").read_bytes()
    message = (
        rf"preprocess\.brightest of {EXPERIMENT} must stay null, as the ids of what is published depend on it, "
        "got 4095; put it back, or make another experiment with facets new"
    )
    monkeypatch.setattr(rebuilding, "check_repository", lambda _: None)  # the tiny experiment is in none
    with pytest.raises(ConfigError, match=message):
        rebuilding.rebuild(changed.root, EXPERIMENT)
    with pytest.raises(ConfigError, match=message):
        stage_model(changed.layout, changed.params)
    assert (changed.history.model_folder() / "params.json").read_bytes() == kept


def test_a_model_is_not_published_beside_parameters_that_it_was_not_made_with(tiny: Tiny) -> None:
    read = {"train": ["seeds", "model", "train"], **{name: [name] for name in ("preprocess", "init_mog", "assign")}}
    sections = yaml.safe_load((tiny.root / "params.yaml").read_text())["experiments"][EXPERIMENT]
    del sections["train"]["hints"]  # DVC ran the stage with a release that had no such key
    sections["init_mog"]["reg_covar"] = 1e-06
    stages = {
        f"{stage}@{EXPERIMENT}": {
            "params": {"params.yaml": {f"experiments.{EXPERIMENT}.{name}": sections[name] for name in names}}
        }
        for stage, names in read.items()
    }
    text = yaml.safe_dump({"schema": "2.0", "stages": stages})
    assert "reg_covar: 1.0e-06" in text
    (tiny.root / "dvc.lock").write_text(text.replace("1.0e-06", "1e-06"))  # DVC speaks YAML 1.2
    then = tiny.params
    then = replace(then, init_mog=replace(then.init_mog, reg_covar=1e-06))
    require_trained_params(tiny.layout, then)
    stricter, faster = replace(then.publish, min_jaccard=0.9), replace(then.assign, batch_size=7)
    require_trained_params(tiny.layout, replace(then, publish=stricter, assign=faster))  # which change no row
    phases = (replace(then.train.phases[0], epochs=99), *then.train.phases[1:])
    now = replace(
        then, preprocess=replace(then.preprocess, size=(4, 4)), train=replace(then.train, phases=phases), seeds=(7,)
    )
    kept = (tiny.history.model_folder() / "params.json").read_bytes()
    with pytest.raises(
        ConfigError, match=r"of preprocess\.size, seeds, train\.phases\[0\]\.epochs; run facets rebuild"
    ):
        stage_model(tiny.layout, now)
    assert (tiny.history.model_folder() / "params.json").read_bytes() == kept


def test_before_anything_is_published_it_may_change(changed: Tiny) -> None:
    changed.layout.published.rename(changed.layout.published.with_suffix(".aside"))
    require_fixed_params(changed.layout, changed.params.preprocess)


def test_deliveries_are_scaled_as_the_published_model_was(changed: Tiny, tmp_path: Path) -> None:
    images = new_images(20).astype(np.uint16) * 257
    np.save(tmp_path / "new.npy", images)
    result = ingest(changed.layout, changed.params, str(tmp_path / "new.npy"))
    assert result.batch_id is not None
    with ImageStore(changed.layout.batches / result.batch_id / "shard.h5") as shard:
        np.testing.assert_array_equal(shard.read(0, 20)[:, 0], new_images(20))

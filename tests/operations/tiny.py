"""The tiny experiment, trained and published in this process: no DVC, no git, a moment instead of a minute."""

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.layout import Layout
from pipeline.operations.publish import publish_staged
from pipeline.operations.scan import scan_source
from pipeline.operations.stage_model import stage_model
from pipeline.tables import History, read
from stages import assign, init_mog, preprocess, report, score, train
from tests.repository import EXPERIMENT, tiny_experiment, write_images


@dataclass(frozen=True)
class Tiny:
    """A published experiment in a folder of its own."""

    root: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.root, EXPERIMENT)

    @property
    def params(self) -> Experiment:
        return load_params(self.root).experiment(EXPERIMENT)

    @property
    def history(self) -> History:
        return History(self.layout.published)

    def copy(self, root: Path) -> "Tiny":
        shutil.copytree(self.root, root)
        return Tiny(root)

    def run_stages(self) -> None:
        """Do what DVC would do."""
        scan_source(self.layout, self.params.preprocess)
        for stage in (preprocess, init_mog, train, score, assign, report):
            stage.run(self.layout, self.params)

    def rebuild(self) -> int:
        """Run all stages and publish; return the version."""
        self.run_stages()
        version, _ = publish_staged(self.layout, self.params, stage_model(self.layout, self.params))
        return version

    def image_ids(self, batch_id: str | None = None) -> list[str]:
        """Return the published images, of one batch or all, after checking that all tables agree."""
        assert self.history.check() == []
        images = read(EXPERIMENT, "images", root=self.root)
        for facet in range(2):
            rows = read(EXPERIMENT, f"facet_{facet}", root=self.root)
            assert sorted(rows["image_id"]) == sorted(images["image_id"])
        chosen = images if batch_id is None else images[images["batch_id"] == batch_id]
        return sorted(chosen["image_id"])


def build_tiny(root: Path) -> Tiny:
    """Build the experiment once for all processes that ask for ``root``."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unfinished = Tiny(root.with_suffix(".unfinished"))
            shutil.rmtree(unfinished.root, ignore_errors=True)
            write_images(unfinished.root / "data" / "own")
            sections = tiny_experiment()
            sections["ingest"] = {**sections["ingest"], "drift": {"false_alarm_rate": 0.01, "min_images": 20}}
            params = {"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}
            (unfinished.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
            unfinished.rebuild()
            unfinished.root.rename(root)
    return Tiny(root)


def new_images(n_images: int, seed: int = 1) -> np.ndarray:
    """Return 8×8 images like those of the experiment that it does not have."""
    generator = np.random.default_rng([seed, 77])
    images = generator.integers(0, 40, (n_images, 8, 8), dtype=np.uint8)
    images[:, 1:7, 3:5] += generator.integers(100, 200, (n_images, 1, 1), dtype=np.uint8)
    return images

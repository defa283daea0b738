"""What is kept of a model in service: ``published/<experiment>/models/<model_version>/``."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.core.errors import PublishError
from pipeline.core.groups import ModelGroups, groups_of_components
from pipeline.core.storage import read_json
from pipeline.core.upgrades import read_model_file

SOURCE_BATCHES = ("train", "test")
"""Batches that come from the source; all others were ingested."""


@dataclass(frozen=True)
class ModelFolder:
    """Read access to the folder of one model.

    Attributes:
        published: folder of the experiment.
        model_version: of the model.
    """

    published: Path
    model_version: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.published / "models" / self.model_version

    @property
    def images(self) -> Path:
        """The images that stage preprocess prepared for this model: source and joined batches."""
        return self.path / "prepared" / "images.parquet"

    @property
    def quarantine(self) -> Path:
        """The files of the source that were refused."""
        return self.path / "prepared" / "quarantine.parquet"

    @cached_property
    def model(self) -> dict[str, Any]:
        """Content of ``model.json``, in the form of today.

        Raises:
            PublishError: the model is not staged here.
        """
        self._require()
        return read_model_file(self.path)

    @property
    def n_components(self) -> tuple[int, ...]:
        """Components of each facet."""
        return tuple(self.model["model"]["n_components"])

    @property
    def hinted(self) -> tuple[int, ...]:
        """On how many images people had told the model something about each facet."""
        return tuple(facet["trained"] for facet in self.model["hints"])

    @cached_property
    def groups(self) -> ModelGroups | None:
        """Groups of the components; None for a model of an earlier release.

        Raises:
            DataError: they are damaged, or of other components.
        """
        return groups_of_components(self.path, self.n_components)

    @cached_property
    def mixing_weights(self) -> list[list[float]]:
        """Mixing weight of each component of each facet."""
        return [facet["mixing_weights"] for facet in read_json(self.path / "clusters.json")["facets"]]

    def assigned(self) -> dict[str, Path]:
        """Return the batches that stage assign covered and their folders: train, test, then those that joined.

        Raises:
            PublishError: the model is not staged here.
        """
        self._require()
        folders = {folder.name: folder for folder in (self.path / "assignments").iterdir() if folder.is_dir()}
        order = [*SOURCE_BATCHES, *sorted(folders.keys() - set(SOURCE_BATCHES))]
        return {batch_id: folders[batch_id] for batch_id in order if batch_id in folders}

    def _require(self) -> None:
        if not (self.path / "model.json").exists():
            raise PublishError(
                f"model {self.model_version} must lie in {self.path}, got nothing there; rebuild it, or choose another"
            )

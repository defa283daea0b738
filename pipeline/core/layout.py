"""Where everything lies below the repository's root: the one place that knows folder names."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.naming import check_experiment_name


@dataclass(frozen=True)
class Layout:
    """Paths of one experiment below a repository root.

    Raises:
        ConfigError: the name of the experiment is no name.
    """

    root: Path
    experiment: str

    def __post_init__(self) -> None:
        check_experiment_name(self.experiment)

    @property
    def source_manifest(self) -> Path:
        """Tracked JSON that pins the source's content."""
        return self.root / "data" / "sources" / f"{self.experiment}.json"

    @property
    def joined(self) -> Path:
        """Tracked JSON list: ids of ingested batches that train with the source."""
        return self.root / "data" / "joined" / f"{self.experiment}.json"

    @property
    def removed(self) -> Path:
        """Tracked JSON list: ids of images that must not be used again."""
        return self.root / "data" / "removed" / f"{self.experiment}.json"

    @property
    def history(self) -> Path:
        """Tracked JSON: that the experiment was published somewhere, written at the first publish."""
        return self.root / "data" / "history" / f"{self.experiment}.json"

    @property
    def shared(self) -> Path:
        """Tracked JSON: the address at which the experiment is shared."""
        return self.root / "data" / "shared" / f"{self.experiment}.json"

    @property
    def raw(self) -> Path:
        """Downloads, shared by all experiments: one folder a dataset."""
        return self.root / "data" / "raw"

    @property
    def resolved(self) -> Path:
        """Output of stage resolve: every parameter, as the other stages read it."""
        return self.artifact("params.json")

    @property
    def prepared(self) -> Path:
        """Output of stage preprocess."""
        return self.root / "data" / "prepared" / self.experiment

    @property
    def inbox(self) -> Path:
        """Drop folder for new batches."""
        return self.root / "data" / "inbox" / self.experiment

    @property
    def batches(self) -> Path:
        """Content-addressed shards of ingested batches."""
        return self.root / "data" / "batches" / self.experiment

    def artifact(self, name: str) -> Path:
        """Output of a stage: ``init``, ``model``, ``score``, ``assignments`` or ``report``."""
        return self.root / "artifacts" / self.experiment / name

    @property
    def published(self) -> Path:
        """What readers query."""
        return self.root / "published" / self.experiment

    @property
    def names(self) -> Path:
        """Tracked CSV of human names for clusters."""
        return self.root / "names" / f"{self.experiment}.csv"

    @property
    def hints(self) -> Path:
        """Tracked CSV of what people said of single images: a label in a facet."""
        return self.root / "hints" / f"{self.experiment}.csv"

    @property
    def hint_pairs(self) -> Path:
        """Tracked CSV of what people said of two images: the same in a facet, or not."""
        return self.root / "hints" / f"{self.experiment}_pairs.csv"

    @property
    def ask(self) -> Path:
        """Forms and contact sheets of what people are asked about."""
        return self.root / "ask" / self.experiment

    @property
    def workspace(self) -> Path:
        """Resume files and memories: what may be lost."""
        return self.root / ".work" / self.experiment

    def work(self, stage: str, key: str) -> Path:
        """Resume files of one stage under a key of its params, inputs and code."""
        return self.workspace / f"{stage}-{key}"

"""All that operations do with the published tables of one experiment, in one place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, DataError, PublishError
from pipeline.core.image_ids import ContentLookup, ContentSet
from pipeline.tables import additions, check, content, current, publishing, removal, retention
from pipeline.tables.batches import Row
from pipeline.tables.content import PublishedContent
from pipeline.tables.crosses import Counts, cross_counts
from pipeline.tables.draft import load_identity
from pipeline.tables.lists import load_entries
from pipeline.tables.model_folder import ModelFolder
from pipeline.tables.names import set_name
from pipeline.tables.parts import read_rows
from pipeline.tables.place import Place, due
from pipeline.tables.transaction import recover
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import PartFile, Version, current_version, load_history, load_version


class History:
    """The versions of one experiment's tables. Whoever changes them holds the publish lock.

    Args:
        published: folder ``published/<experiment>``.
    """

    def __init__(self, published: Path) -> None:
        self.published = published

    def recover(self) -> None:
        """Complete a change that was decided but cut off; every change does this first."""
        recover(self.published)

    def current(self) -> Version | None:
        """Return the current version, or None before the first."""
        place = Place(self.published)
        return None if current_version(place) is None else load_version(place)

    def served(self) -> Version:
        """Return the current version.

        Raises:
            PublishError: there is none.
        """
        version = self.current()
        if version is None:
            raise PublishError(f"{self.published} must hold a published version, got none; {due(self.published)}")
        return version

    def model_of(self, number: int) -> str:
        """Return the model version of a version, also of a withdrawn one.

        Raises:
            ConfigError: there is no record of that number.
        """
        known = {version.version: version.model_version for version in load_history(self.published)}
        if number not in known:
            kept = ", ".join(map(str, sorted(known))) or "none"
            raise ConfigError(f"version must be one of those kept ({kept}), got {number}; choose one of them")
        return known[number]

    def model_folder(self, model_version: str | None = None) -> Path:
        """Return the folder of a model, by default of the one in service."""
        return ModelFolder(self.published, model_version or self.served().model_version).path

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of ``clusters``, ``batches`` or ``lineage`` in the current version; none before the first."""
        version = self.current()
        if version is None:
            return []
        require_sound(Place(self.published), [version.tables[table]])
        return read_rows(self.published / version.tables[table].file)

    def cross_counts(self) -> Counts:
        """Return how many images of the current version lie in each pair of clusters of two facets."""
        return cross_counts(self.published, self.served())

    def require_sound(self) -> None:
        """Refuse to build on a current version of which a file is missing, damaged or another one.

        Raises:
            DataError: one is.
        """
        version = self.current()
        if version is not None:
            place = Place(self.published)
            load_identity(place, version)
            parts = [part for entry in load_entries(place, version) for part in entry.parts.values()]
            require_sound(place, [*version.tables.values(), *parts])

    def content(self) -> ContentLookup:
        """Return what tells which content is published.

        Raises:
            DataError: a file that this needs is missing or damaged.
        """
        while True:
            version = self.current()
            if version is None:
                return ContentSet.of_ids([])
            try:
                return PublishedContent(self.published, self._images(version))
            except DataError:
                # A version that came meanwhile has deleted the files of the one before.
                if self.current() == version:
                    raise

    def lacks_content(self) -> bool:
        """Tell whether looking content up has to read parts, which no file of hashes covers."""
        return content.lacks_content(self.published, self._images(self.served()))

    def write_content(self) -> None:
        """Write the files of hashes that are missing."""
        content.write_content(self.published, self._images(self.served()))

    def mend_content(self) -> None:
        """Write files of hashes that are missing or damaged again."""
        content.delete_damaged(self.published)
        self.write_content()

    def _images(self, version: Version) -> list[PartFile]:
        return [entry.parts["images"] for entry in load_entries(Place(self.published), version)]

    def minted_by(self) -> Mapping[str, str]:
        """Return every uid ever given and the model version that it was made for."""
        version = self.current()
        return {} if version is None else load_identity(Place(self.published), version).minted_by

    def set_name(self, names: Path, uid: str, name: str, note: str = "") -> None:
        """Name a cluster in the experiment's CSV; an empty name takes its name away.

        Raises:
            ConfigError: the uid was never published.
        """
        set_name(names, uid, name, self.minted_by(), note)

    def unassigned(self, model_version: str, batches: Path) -> list[str]:
        """Return the ingested batches that a model must assign before it can be published."""
        return publishing.unassigned_batches(self.published, model_version, batches)

    def publish_model(self, model_version: str, **details: Any) -> None:
        """Put a staged model in service for all images.

        Args:
            model_version: of the model.
            **details: the other fields of :class:`pipeline.tables.publishing.ModelPublication`.
        """
        publishing.publish_model(self.published, publishing.ModelPublication(model_version, **details))

    def add_batches(self, assigned: Mapping[str, Path], batches: Path, removed: frozenset[str] = frozenset()) -> None:
        """Publish ingested batches (see :func:`pipeline.tables.additions.add_batches`)."""
        additions.add_batches(self.published, assigned, batches, removed)

    def add_refused(self, delivery: Row, refused: Sequence[tuple[str, str]]) -> None:
        """List a delivery without new images (see :func:`pipeline.tables.additions.add_refused`)."""
        additions.add_refused(self.published, delivery, refused)

    def withdraw(self, removed: frozenset[str]) -> None:
        """Take images out of everything (see :func:`pipeline.tables.removal.withdraw_images`)."""
        removal.withdraw_images(self.published, removed)

    def purge_models(self, removed: frozenset[str]) -> None:
        """Take images out of the assignments kept with models (see :func:`pipeline.tables.removal.purge_models`)."""
        removal.purge_models(self.published, removed)

    def write_current(self, *, is_addition: bool = False) -> None:
        """Bring ``current/`` in line with the current version (see :func:`pipeline.tables.current.write_current`)."""
        current.write_current(self.published, is_addition=is_addition)

    def purge_current(self) -> None:
        """Take rows of earlier versions out of ``current/`` (see :func:`pipeline.tables.current.purge_current`)."""
        current.purge_current(self.published)

    def prune(self, keep: int, trained: str | None) -> dict[int, str | None]:
        """Delete all but the newest versions (see :func:`pipeline.tables.retention.prune`)."""
        return retention.prune(self.published, keep, trained)

    def check(self) -> list[str]:
        """Return what is wrong with the current version (see :func:`pipeline.tables.check.find_problems`)."""
        return check.find_problems(self.published)

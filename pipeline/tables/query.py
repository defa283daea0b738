"""Reading published tables: as data frames, as file lists for other programs, or by SQL.

A reader resolves the manifest once and then sees one whole version, whatever is published meanwhile. If that version is
withdrawn meanwhile (images were removed), it starts again with the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.naming import check_experiment_name
from pipeline.core.text import reason_of
from pipeline.table_format.schema import facet_table, table_schema
from pipeline.tables.lists import load_entries
from pipeline.tables.place import REPAIR, Place
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import PartFile, Version, current_version, load_version

if TYPE_CHECKING:
    import pandas as pd

Engine = Literal["pandas", "arrow"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Snapshot:
    """One version of an experiment's tables, as files.

    Attributes:
        place: where they lie.
        version: which version.
    """

    place: Place
    version: Version

    @property
    def tables(self) -> list[str]:
        """Names of all tables."""
        facets = [facet_table(facet) for facet in range(self.version.n_facets)]
        small = [name for name in self.version.tables if name != "quarantine"]
        return [*facets, "images", *small, "quarantine"]

    @cached_property
    def _sound(self) -> set[str]:
        return set()

    @cached_property
    def _parts(self) -> dict[str, list[PartFile]]:
        parts: dict[str, list[PartFile]] = {table: [] for table in self.tables}
        for entry in load_entries(self.place, self.version):
            for table, part in entry.parts.items():
                parts[table].append(part)
        return parts

    def files(self, table: str) -> list[PartFile]:
        """Return the files of a table.

        Raises:
            ConfigError: there is no table of that name.
            DataError: a file is missing, damaged or another one.
        """
        if table not in self.tables:
            raise ConfigError(f"a table must be one of {', '.join(self.tables)}, got {table!r}; choose one of them")
        small = [self.version.tables[table]] if table in self.version.tables else []
        # Only of quarantine there is a small table beside the parts of the batches.
        files = small if small and table != "quarantine" else [*self._parts[table], *small]
        if table not in self._sound:
            require_sound(self.place, files)
            self._sound.add(table)
        return files

    def schema(self, table: str) -> pa.Schema:
        """Return all columns that the files of a table have; one file of each layout is opened."""
        layouts = {part.layout: part for part in self.files(table)}
        if not layouts:
            return table_schema(table)
        names = [self.place.local(part.file) for part in layouts.values()]
        schemas = [pq.read_schema(name, filesystem=self.place.filesystem) for name in names]
        merged = pa.unify_schemas([schema.remove_metadata() for schema in schemas])
        # A column that came later is null in older files.
        return pa.schema([column.with_nullable(True) for column in merged])

    def read(self, table: str, columns: Sequence[str] | None) -> pa.Table:
        """Return a table, or some columns of it, in the order of the batches.

        Raises:
            ConfigError: there is no such table or column.
        """
        # It imports pandas, which SQL does without.
        import pyarrow.dataset as ds

        files = [self.place.local(part.file) for part in self.files(table)]
        schema = self.schema(table)
        unknown = [name for name in columns or [] if name not in schema.names]
        if unknown:
            raise ConfigError(f"a column of {table} must be one of {', '.join(schema.names)}, got {unknown[0]!r}")
        if not files:
            return schema.empty_table().select(list(columns or schema.names))
        source = ds.dataset(files, schema=schema, format="parquet", filesystem=self.place.filesystem)
        return source.to_table(columns=None if columns is None else list(columns))


def read(
    experiment: str,
    table: str,
    *,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    root: Path | str | None = None,
    engine: Engine = "pandas",
) -> "pd.DataFrame | pa.Table":
    """Return a published table.

    Args:
        experiment: e.g. ``"digits"``.
        table: ``facet_<j>``, ``images``, ``clusters``, ``groups``, ``merges``, ``batches``, ``lineage`` or
            ``quarantine``.
        columns: which ones, by default all.
        version: which one, by default the current one.
        root: folder that holds ``published``, or its URL; by default the nearest one above the working directory.
        engine: ``pandas`` for a data frame, ``arrow`` for an Arrow table.

    Raises:
        ConfigError: there is no such table, column, version or repository, or the experiment's name is no name.
        DataError: nothing is published, or a file is missing or damaged.
    """
    found = with_snapshot(experiment, root, version, lambda snapshot: snapshot.read(table, columns))
    return found.to_pandas() if engine == "pandas" else found


def paths(experiment: str, table: str, *, version: int | None = None, root: Path | str | None = None) -> list[str]:
    """Return the Parquet files that make up a published table, for Spark, Polars and others.

    Only these files together are the table: the folders also hold files of other versions.

    Args:
        experiment: e.g. ``"digits"``.
        table: as for :func:`read`.
        version: likewise.
        root: likewise.

    Raises:
        ConfigError: there is no such table, version or repository, or the experiment's name is no name.
        DataError: nothing is published, or a file is missing or damaged.
    """
    return with_snapshot(
        experiment,
        root,
        version,
        lambda snapshot: [snapshot.place.file(part.file) for part in snapshot.files(table)],
    )


def with_snapshot(
    experiment: str, root: Path | str | None, version: int | None, use: Callable[[Snapshot], Result]
) -> Result:
    """Return what ``use`` makes of one version; start again where that version was withdrawn meanwhile.

    Raises:
        ConfigError: the experiment's name is no name, or there is no such version or repository.
        DataError: nothing is published, or a file is missing or damaged.
    """
    check_experiment_name(experiment)
    return with_version(f"{base_of(experiment, root)}/published/{experiment}", version, use)


def with_version(location: str, version: int | None, use: Callable[[Snapshot], Result]) -> Result:
    """Return what ``use`` makes of a version of the tables at a place (see :func:`with_snapshot`).

    Raises:
        ConfigError: there is no such version.
        DataError: nothing is published, or a file is missing or damaged.
    """
    while True:
        place = Place(location)
        try:
            resolved = load_version(place, version)
        except DataError as error:
            raise place.explained(error) from None
        try:
            return use(Snapshot(place, resolved))
        except pa.ArrowMemoryError:
            raise
        except (DataError, OSError, pa.ArrowException) as error:
            if version is None and current_version(Place(location)) != resolved.version:
                continue
            if isinstance(error, DataError):
                raise place.explained(error) from error.__cause__
            whole = f"version {resolved.version} of {place.location} must be whole, but {reason_of(error)}; {REPAIR}"
            raise place.explained(DataError(whole)) from error


def base_of(experiment: str, root: Path | str | None) -> Path | str:
    """Return the folder or URL that holds ``published``.

    Args:
        experiment: its name.
        root: as given; None for the nearest folder from the working directory upwards, one with tables of the
            experiment before any other repository.

    Raises:
        ConfigError: there is no such folder.
    """
    if root is not None:
        if "://" not in str(root) and not _is_base(Path(root)):
            raise ConfigError(
                f"root= must be a repository, a folder with 'published' or params.yaml, got {str(root)!r}; correct it"
            )
        return root
    here = Path.cwd()
    above = (here, *here.parents)
    with_tables = (folder for folder in above if (folder / "published" / experiment).is_dir())
    found = next(with_tables, None) or next(filter(_is_base, above), None)
    if found is None:
        raise ConfigError(
            f"tables of {experiment} are read inside a repository, but no folder with 'published' or params.yaml was "
            f"found at or above {here}; name the repository by root=, or change into it"
        )
    return found


def _is_base(folder: Path) -> bool:
    return (folder / "published").is_dir() or (folder / "params.yaml").is_file()

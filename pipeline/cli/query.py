"""``facets query``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli._shared import AsJson, ExperimentName, find_root, open_experiment
from pipeline.cli._table import table_text
from pipeline.core.text import counted, to_json

if TYPE_CHECKING:
    import pyarrow as pa

_Sql = Annotated[str, typer.Argument(metavar="SQL", help="A statement in DuckDB's dialect.", show_default=False)]
_Version = Annotated[int | None, typer.Option("--version", help="Of the tables; the newest if none is named.")]
_Rows = Annotated[int, typer.Option("--rows", min=0, help="Rows to print at most; --json prints all.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write all rows there: .csv, .parquet or .json.", show_default=False),
]


def query(
    experiment: ExperimentName,
    sql: _Sql,
    version: _Version = None,
    rows: _Rows = 50,
    output: _Output = None,
    as_json: AsJson = False,
) -> None:
    """Ask the published tables in SQL.

    Tables: facet_0, facet_1, … images, clusters, groups, merges, batches, lineage, quarantine. A statement sees these,
    no other file and no network, and changes none of them.

    \b
    Example:
        facets query digits "select cluster_uid, count(*) from facet_1 group by 1 order by 2 desc"
        facets query digits "from facet_1" --output facet_1.csv
    """
    from pipeline.operations.exports import require_free_place
    from pipeline.tables import query
    from pipeline.tables.export import check_export, plain_rows, write_export

    root = find_root()
    if output is not None:
        check_export(output)
        require_free_place(output)
    if not (root / "published" / experiment).exists():
        open_experiment(experiment)  # what is not even in params.yaml is a wrong name
    found: Any = query(experiment, sql, version=version, root=root, engine="arrow")
    if output is not None:
        write_export(found, output)
        print(
            json.dumps({"file": str(output), "rows": found.num_rows})
            if as_json
            else f"{output}: {counted(found.num_rows, 'row')}"
        )
    elif as_json:
        sys.stdout.write("[")
        for n, row in enumerate(plain_rows(found)):
            sys.stdout.write(f"{', ' if n else ''}{to_json(row)}")
        print("]")
    elif found.num_columns:
        print(_table(found, rows))


def _table(found: "pa.Table", n_rows: int) -> str:
    are_numbers = [str(kind).startswith(("int", "uint", "float", "double", "decimal")) for kind in found.schema.types]
    columns = found.slice(0, n_rows).to_pydict().values()
    text = table_text(found.column_names, are_numbers, zip(*columns, strict=True))
    return f"{text}\n… {counted(found.num_rows, 'row')} in all" if found.num_rows > n_rows else text

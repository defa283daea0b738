"""``facets query``."""

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli._shared import AsJson, ExperimentName, find_root
from pipeline.cli._table import table_text

if TYPE_CHECKING:
    import pyarrow as pa

_Sql = Annotated[str, typer.Argument(metavar="SQL", help="A statement in DuckDB's dialect.", show_default=False)]
_Version = Annotated[int | None, typer.Option("--version", help="Of the tables; the newest if none is named.")]
_Rows = Annotated[int, typer.Option("--rows", help="Rows to print at most; --json prints all.")]


def query(
    experiment: ExperimentName, sql: _Sql, version: _Version = None, rows: _Rows = 50, as_json: AsJson = False
) -> None:
    """Ask the published tables in SQL.

    Tables: facet_0, facet_1, … images, clusters, batches, lineage, quarantine.

    \b
    Example:
        facets query digits "select cluster_uid, count(*) from facet_1 group by 1 order by 2 desc"
    """
    from pipeline.tables import query

    found: Any = query(experiment, sql, version=version, root=find_root(), engine="arrow")
    if as_json:
        print(json.dumps([_plain(row) for row in found.to_pylist()], ensure_ascii=False))
    elif found.num_columns:
        print(_table(found, rows))


def _table(found: "pa.Table", n_rows: int) -> str:
    are_numbers = [str(kind).startswith(("int", "uint", "float", "double", "decimal")) for kind in found.schema.types]
    columns = found.slice(0, n_rows).to_pydict().values()
    text = table_text(found.column_names, are_numbers, zip(*columns, strict=True))
    return f"{text}\n… {found.num_rows} rows in all" if found.num_rows > n_rows else text


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: times as text, what is not finite as null, DuckDB's wide sums as numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else str(value)

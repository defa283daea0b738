"""What a rebuild shows on Prefect's pages."""

from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipeline.layout import Layout
from pipeline.operations.repro import StageRun
from pipeline.storage import read_json


def show_rebuild(layout: Layout, runs: Sequence[StageRun], published: dict[str, Any]) -> None:
    """Write three artifacts: why each stage ran, the scores, a link to the page."""
    key = layout.experiment.replace("_", "-")
    create_markdown_artifact(key=f"rebuild-{key}", markdown=_stages(runs, published), description="Why each stage ran")
    summary = read_json(layout.artifact("score") / "summary.json")
    create_table_artifact(key=f"scores-{key}", table=_rows(summary), description=f"Scores of {layout.experiment}")
    page = (layout.published / "report.html").resolve().as_uri()
    create_link_artifact(key=f"page-{key}", link=page, link_text=f"The page of {layout.experiment}")


def _stages(runs: Sequence[StageRun], published: dict[str, Any]) -> str:
    lines = [
        f"Version **{published['version']}** is in service.",
        "",
        "| stage | what | seconds | why |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {run.stage} | {run.action} | {run.seconds} | {run.reason} |" for run in runs)])


def _rows(value: Any, name: str = "") -> list[dict[str, Any]]:
    """Return nested numbers as rows of name and value."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _rows(inner, f"{name} {key}".strip())]
    if isinstance(value, list):
        return [row for index, inner in enumerate(value) for row in _rows(inner, f"{name} {index}".strip())]
    return [{"score": name, "value": value}]

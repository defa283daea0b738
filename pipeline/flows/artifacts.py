"""What runs show on Prefect's pages."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipeline.core.layout import Layout
from pipeline.core.storage import read_json
from pipeline.core.text import printable
from pipeline.datasets.prepare.quarantine import read_account
from pipeline.flows.pages import PAGES
from pipeline.operations.repro import StageRun

_NOT_SHOWN = "–"
_MOST_FILES = 100


def show_rebuild(layout: Layout, runs: Sequence[StageRun], published: Mapping[str, Any]) -> None:
    """Write three artifacts: why each stage ran, the scores, a link to the page."""
    key = layout.experiment.replace("_", "-")
    create_markdown_artifact(
        key=f"rebuild-{key}", markdown=_stages(layout, runs, published), description="Why each stage ran"
    )
    create_table_artifact(
        key=f"scores-{key}",
        table=score_rows(read_json(layout.artifact("score") / "summary.json")),
        description=(
            f"{layout.experiment}: accuracy of each facet's clusters on each label factor. Selected: of the model in "
            "service, chosen without labels; beside it all healthy seeds, and k-means on the raw pixels."
        ),
    )
    create_link_artifact(
        key=f"page-{key}", link=page_address(layout), link_text=f"The page of {layout.experiment}", description="Page"
    )


def show_batch(layout: Layout, delivery: str, result: Mapping[str, Any]) -> None:
    """Write what became of a delivery, with the files that were refused."""
    drift = result["drift"]
    lines = [
        f"| delivery | {_cell(delivery)} |",
        "|---|---|",
        f"| batch | {result['batch_id'] or 'none: nothing was new'} |",
        f"| new images | {result['n_images']:,} |",
        f"| there already | {result['duplicates']:,} |",
        f"| refused | {len(result['quarantined']):,} |",
        f"| drift, −log₁₀ p of each facet | {_NOT_SHOWN if drift is None else ', '.join(f'{x:.1f}' for x in drift)} |",
        f"| drifted | {_NOT_SHOWN if drift is None else 'yes' if result['drifted'] else 'no'} |",
        f"| version in service | {result['version']} |",
        "",
        f"[The page of {layout.experiment}]({page_address(layout)})",
    ]
    if result["quarantined"]:
        shown = result["quarantined"][:_MOST_FILES]
        lines += [
            "",
            "| refused file | why |",
            "|---|---|",
            *(f"| {_cell(file)} | {_cell(reason)} |" for file, reason in shown),
        ]
        if len(shown) < len(result["quarantined"]):
            lines += ["", "All of them are in table `quarantine`."]
    create_markdown_artifact(
        key=f"ingest-{layout.experiment.replace('_', '-')}", markdown="\n".join(lines), description=printable(delivery)
    )


def _cell(text: str) -> str:
    """Return text from outside as the cell of a table, where it means nothing but itself."""
    return re.sub(r"([\\`*_\[\]<>|!#~&])", r"\\\1", printable(text))


def page_address(layout: Layout) -> str:
    """Return where the page is served; its file where no service runs."""
    served = os.environ.get(PAGES)
    if served:
        return f"{served}/{layout.experiment}"
    return (layout.published / "report.html").resolve().as_uri()


def score_rows(summary: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a facet and label factor from ``score/summary.json``; of data without labels one row a facet.

    A single healthy seed has no deviation, and k-means is missing where ``score.baselines`` is off.
    """
    rows: list[dict[str, Any]] = []
    for facet, facts in summary.items():
        health = {"occupied clusters": facts["occupied"], "mean confidence": round(facts["confidence"], 3)}
        factors = {name: scores for name, scores in facts.items() if isinstance(scores, dict)}
        for name, scores in factors.items():
            deviation = "" if scores["std"] is None else f" ± {scores['std']:.3f}"
            baseline = {"k-means": round(scores["kmeans"], 3)} if "kmeans" in scores else {}
            rows.append(
                {
                    "facet": int(facet.removeprefix("facet_")),
                    "factor": name,
                    "selected": round(scores["selected"], 3),
                    "all seeds": f"{scores['mean']:.3f}{deviation}",
                    **baseline,
                    "chance": round(scores["chance"], 3),
                    **health,
                }
            )
        if not factors:
            rows.append({"facet": int(facet.removeprefix("facet_")), **health})
    return rows


def _stages(layout: Layout, runs: Sequence[StageRun], published: Mapping[str, Any]) -> str:
    account = read_account(layout.prepared)
    is_new = "new" if published["is_new"] else "as before"
    lines = [
        f"## {layout.experiment}: version {published['version']} is in service, {is_new}",
        "",
        "| stage | what | seconds | why |",
        "|---|---|---:|---|",
        *(f"| {run.stage} | {_emphasis(run)} | {run.seconds or _NOT_SHOWN} | {run.reason} |" for run in runs),
        "",
        *([] if account is None else [f"Images of the source: {_cell(account.text)}", ""]),
        f"[The page of {layout.experiment}]({page_address(layout)}) · full logs in `.work/logs/`",
    ]
    return "\n".join(lines)


def _emphasis(run: StageRun) -> str:
    return run.action if run.action == "unchanged" else f"**{run.action}**"

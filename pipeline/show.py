"""Figures of a published experiment for notebooks: the page's views, one call each.

Example:
    >>> from pipeline import show
    >>> show.clusters("digits", facet=1)  # doctest: +SKIP
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int, Shaped, UInt8

from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.core.naming import check_experiment_name
from pipeline.core.upgrades import PICTURES, SCORES, read_record
from pipeline.page.curves import read_curves
from pipeline.page.scores import score_rows
from pipeline.report.mosaic import mosaic
from pipeline.report.packing import unpack
from pipeline.report.sprites import Sheet, read_sheet
from pipeline.tables import History, query
from pipeline.tables.query import base_of

_GAP = 2


def clusters(experiment: str, facet: int, n_images: int = 12, root: Path | str | None = None) -> go.Figure:
    """Return the clusters of a facet as rows of their surest images, surest cluster first (paper, Fig. 4).

    Args:
        experiment: its name.
        facet: which facet.
        n_images: images a cluster at most.
        root: repository; by default the nearest one above the working directory.

    Raises:
        ConfigError: there is no such facet.
        PublishError: nothing is published yet.
    """
    shown = _Published.of(experiment, root)
    tree = shown.facet(facet)
    rows = [component for component in tree["by_confidence"] if tree["sizes"][component]]
    indices = np.full((len(rows), n_images), -1)
    for row, component in enumerate(rows):
        chosen = tree["examples"][component][:n_images]
        indices[row, : len(chosen)] = chosen
    titles = [f"{shown.title(facet, component)} ({shown.size(facet, component)})" for component in rows]
    return _picture_table(shown.pictures(indices), titles, [""] * n_images, f"Facet {facet}: clusters")


def cross(experiment: str, first: int = 0, second: int = 1, root: Path | str | None = None) -> go.Figure:
    """Return an image of every pair of clusters of two facets; pairs without an image are white.

    Raises:
        ConfigError: there is no such pair of facets.
        PublishError: nothing is published yet.
    """
    shown = _Published.of(experiment, root)
    found = [tree for tree in shown.page["crosses"] if {tree["first"], tree["second"]} == {first, second}]
    if not found:
        n_facets = len(shown.page["facets"])
        raise ConfigError(f"a cross-table needs two different facets below {n_facets}, got {first} and {second}")
    (tree,) = found
    rows, columns, examples = tree["row_ids"], tree["column_ids"], unpack(tree["examples"])
    if tree["first"] != first:
        rows, columns, examples = columns, rows, examples.T
    names, others = ([shown.title(facet, c) for c in ids] for facet, ids in ((first, rows), (second, columns)))
    return _picture_table(shown.pictures(examples), names, others, f"Facet {first} by facet {second}")


def latent_map(experiment: str, facet: int, root: Path | str | None = None) -> go.Figure:
    """Return the map of a facet: a random sample of the images on the plane that parts its clusters best.

    Raises:
        ConfigError: there is no such facet.
        PublishError: nothing is published yet.
    """
    shown = _Published.of(experiment, root)
    pool = shown.facet(facet)["pool"]
    ids, places, confidence = (unpack(pool[name]) for name in ("cluster_id", "places", "confidence"))
    usable = (unpack(shown.page["images"]["is_sampled"]) == 1) & (shown.image_ids != "")
    figure = go.Figure()
    for component in np.unique(ids[usable]).tolist():
        members = np.flatnonzero(usable & (ids == component))
        figure.add_scatter(
            x=places[members, 0],
            y=places[members, 1],
            mode="markers",
            name=shown.title(facet, component),
            text=shown.image_ids[members],
            customdata=confidence[members],
            hovertemplate="%{text}<br>confidence %{customdata:.2f}",
            marker={"size": 5, "opacity": 0.75},
        )
    return figure.update_layout(title=f"Facet {facet}: map", template="simple_white")


def curves(experiment: str, term: str = "elbo", root: Path | str | None = None) -> go.Figure:
    """Return a quantity of the training history by epoch, one line a seed and split.

    Raises:
        ConfigError: the history has no such quantity.
        PublishError: nothing is published yet.
    """
    shown = _Published.of(experiment, root)
    history = read_curves(shown.model / "history.csv")
    if term not in history["terms"]:
        raise ConfigError(f"the quantity must be one of {', '.join(history['terms'])}, got {term!r}")
    figure = go.Figure()
    for series in history["series"]:
        name = f"seed {series['seed']}, {series['split']}"
        dash = "dot" if series["split"] == "train" else "solid"
        figure.add_scatter(x=series["epoch"], y=series["values"][term], name=name, mode="lines", line={"dash": dash})
    return figure.update_layout(xaxis_title="epoch", yaxis_title=f"{term}, nats an image", template="simple_white")


def scores(experiment: str, metric: str = "accuracy", root: Path | str | None = None) -> go.Figure:
    """Return a score of every facet and label factor: mean and deviation over seeds, the model in service, chance.

    Raises:
        PublishError: nothing is published yet.
    """
    shown = _Published.of(experiment, root)
    rows = [
        row
        for row in score_rows(read_record(shown.model / "score" / "metrics.json", SCORES))
        if metric in row["scores"]
    ]
    labels = [f"facet {row['facet']}, {row['factor']}" for row in rows]
    found = [row["scores"][metric] for row in rows]
    figure = go.Figure()
    deviations = {"type": "data", "array": [score["std"] for score in found]}  # of a single seed there is none
    figure.add_bar(x=labels, y=[score["mean"] for score in found], error_y=deviations, name="mean of seeds")
    for name, symbol in (("selected", "diamond"), ("chance", "line-ew-open")):
        values = [score[name] for score in found]
        figure.add_scatter(x=labels, y=values, mode="markers", name=name, marker={"symbol": symbol, "size": 12})
    return figure.update_layout(yaxis_title=metric, template="simple_white")


@dataclass(frozen=True)
class _Published:
    """The page's data of the version in service."""

    model: Path
    page: dict[str, Any]
    clusters: dict[tuple[int, int], dict[str, Any]]

    @classmethod
    def of(cls, experiment: str, root: Path | str | None) -> "_Published":
        check_experiment_name(experiment)
        place = Path(base_of(experiment, root))
        history = History(Layout(place, experiment).published)
        model = history.model_folder(history.served().model_version)
        sql = "SELECT facet, cluster_id, coalesce(name, cluster_uid) AS title, size FROM clusters"
        found = query(experiment, sql, root=place, engine="arrow").to_pylist()
        clusters = {(row["facet"], row["cluster_id"]): row for row in found}
        return cls(model, read_record(model / "report" / "page.json", PICTURES), clusters)

    @cached_property
    def image_ids(self) -> Shaped[np.ndarray, " pool"]:
        """Ids of the pool; empty where an image was removed."""
        return np.array([image_id or "" for image_id in self.page["images"]["ids"]])

    def facet(self, facet: int) -> dict[str, Any]:
        """Return what the page knows of a facet."""
        facets = self.page["facets"]
        if not 0 <= facet < len(facets):
            raise ConfigError(f"the facet must be one of 0 to {len(facets) - 1}, got {facet}")
        return facets[facet]

    def title(self, facet: int, component: int) -> str:
        """Return the name of a cluster."""
        return self.clusters[facet, component]["title"] if (facet, component) in self.clusters else str(component)

    def size(self, facet: int, component: int) -> int:
        """Return how many published images a cluster holds."""
        return self.clusters[facet, component]["size"] if (facet, component) in self.clusters else 0

    def pictures(self, indices: Int[np.ndarray, "row column"]) -> UInt8[np.ndarray, "row column 3 height width"]:
        """Return images of the pool; white where the index is -1 or the image was removed."""
        sheet = Sheet.from_json(self.page["sheets"]["images"])
        cells = read_sheet(self.model / "report", sheet).transpose(0, 3, 1, 2)
        white = np.full_like(cells[:1], 255)
        is_bare = (indices < 0) | (self.image_ids[indices] == "")
        return np.concatenate([cells, white])[np.where(is_bare, len(cells), indices)]


def _picture_table(
    pictures: UInt8[np.ndarray, "row column 3 height width"], rows: list[str], columns: list[str], title: str
) -> go.Figure:
    """Draw pictures as one image whose axes name its rows and columns."""
    drawn = mosaic(pictures, _GAP)
    step_y, step_x = (drawn.shape[0] - _GAP) / max(1, len(rows)), (drawn.shape[1] - _GAP) / max(1, len(columns))
    figure = go.Figure(go.Image(z=drawn, hoverinfo="skip"))
    figure.update_yaxes(tickvals=[step_y * (n + 0.5) for n in range(len(rows))], ticktext=rows, showgrid=False)
    figure.update_xaxes(tickvals=[step_x * (n + 0.5) for n in range(len(columns))], ticktext=columns, side="top")
    height, width = drawn.shape[:2]
    return figure.update_layout(title=title, template="simple_white", width=width + 180, height=height + 120)

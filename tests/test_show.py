from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from pipeline import show
from pipeline.core.errors import ConfigError, PublishError
from pipeline.core.storage import read_json
from pipeline.report.packing import unpack
from pipeline.tables import read
from tests.repository import EXPERIMENT, Repository


@pytest.fixture(scope="module")
def sizes(template: Repository) -> dict[int, dict[int, int]]:
    """Size of every cluster that holds images, by facet and component, from the tables."""
    table = read(EXPERIMENT, "clusters", root=template.root)
    found: dict[int, dict[int, int]] = {}
    for row in table.to_dict("records"):
        if row["size"]:
            found.setdefault(row["facet"], {})[row["cluster_id"]] = row["size"]
    return found


def traces(figure: go.Figure) -> list[Any]:
    return list(figure.data)


def ticks(figure: go.Figure, axis: str) -> list[str]:
    return list(figure.to_dict()["layout"][axis]["ticktext"])


def test_clusters_are_named_rows(template: Repository, sizes: dict[int, dict[int, int]]) -> None:
    figure = show.clusters(EXPERIMENT, 0, n_images=3, root=template.root)
    titles = ticks(figure, "yaxis")
    assert len(titles) == len(sizes[0])
    assert {int(title.split("(")[1].rstrip(")")) for title in titles} <= set(sizes[0].values())
    assert all(title.startswith("f0-c") for title in titles)


def test_a_cross_table_turned_round_is_its_transpose(template: Repository, sizes: dict[int, dict[int, int]]) -> None:
    figure, turned = show.cross(EXPERIMENT, 0, 1, template.root), show.cross(EXPERIMENT, 1, 0, template.root)
    assert ticks(figure, "xaxis") == ticks(turned, "yaxis")
    assert len(ticks(figure, "yaxis")) == len(sizes[0])
    (image,) = traces(figure)
    (other,) = traces(turned)
    assert np.shape(image.z)[:2] == np.shape(other.z)[1::-1]


def test_the_map_shows_the_sample_by_cluster(template: Repository) -> None:
    figure = show.latent_map(EXPERIMENT, 1, template.root)
    model = next((template.root / "published" / EXPERIMENT / "models").iterdir())
    page = read_json(model / "report" / "page.json")
    assert sum(len(trace.x) for trace in traces(figure)) == int(unpack(page["images"]["is_sampled"]).sum())
    assert {image_id for trace in traces(figure) for image_id in trace.text} <= set(page["images"]["ids"])


def test_curves_have_a_line_a_seed_and_split(template: Repository) -> None:
    figure = show.curves(EXPERIMENT, "log_px", template.root)
    assert {trace.name.split(", ")[1] for trace in traces(figure)} == {"train", "validation"}
    with pytest.raises(ConfigError, match=r"must be one of elbo, log_px.*got 'speed'"):
        show.curves(EXPERIMENT, "speed", template.root)


def test_scores_stand_beside_chance(template: Repository) -> None:
    figure = show.scores(EXPERIMENT, root=template.root)
    names = {trace.name: trace for trace in traces(figure)}
    assert set(names) == {"mean of seeds", "selected", "chance"}
    metrics = read_json(template.root / "artifacts" / EXPERIMENT / "score" / "metrics.json")
    expected = [
        factor["accuracy"] for tree in metrics["selected"]["facets"].values() for factor in tree["factors"].values()
    ]
    assert list(names["selected"].y) == expected


@pytest.mark.parametrize("facet", [-1, 9])
def test_an_unknown_facet_is_refused(template: Repository, facet: int) -> None:
    with pytest.raises(ConfigError, match=f"must be one of 0 to 1, got {facet}"):
        show.clusters(EXPERIMENT, facet, root=template.root)
    with pytest.raises(ConfigError, match="two different facets"):
        show.cross(EXPERIMENT, facet, 0, template.root)


def test_before_the_first_publish_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root= must be a repository"):
        show.clusters(EXPERIMENT, 0, root=tmp_path)
    (tmp_path / "published").mkdir()
    with pytest.raises(PublishError, match="run facets rebuild"):
        show.clusters(EXPERIMENT, 0, root=tmp_path)


def test_every_view_is_a_figure(template: Repository) -> None:
    for view in (show.curves, show.scores):
        assert isinstance(view(EXPERIMENT, root=template.root), go.Figure)

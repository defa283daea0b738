"""``groups.json``: what was written is what is read."""

import json
from dataclasses import replace

import pytest

from pipeline.core.errors import DataError
from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups, read_groups, write_groups

TREE = MergeTree(((0, 2), (1, 3)), (0.25, 0.75))
GROUPS = ModelGroups(
    "seeds",
    4,
    60,
    (
        FacetGroups(2, 0.85, (0, 1, 0), (0.625, 0.375), TREE, 0.6),
        FacetGroups(1, 1.0, (0,), (1.0,), MergeTree((), ()), None),
    ),
)


@pytest.mark.parametrize("groups", [GROUPS, replace(GROUPS, compared_with="itself", facets=())])
def test_round_trip(tmp_path, groups):
    write_groups(tmp_path, groups)
    assert read_groups(tmp_path) == groups


def test_the_file_has_plain_names(tmp_path):
    write_groups(tmp_path, GROUPS)
    record = json.loads((tmp_path / "groups.json").read_text())
    assert (record["schema"], record["compared_with"], record["n_compared"], record["n_images"]) == (1, "seeds", 4, 60)
    assert record["facets"][0] == {
        "n_groups": 2,
        "certainty": 0.85,
        "component_group": [0, 1, 0],
        "share": [0.625, 0.375],
        "tree": {"merges": [[0, 2], [1, 3]], "confirmed": [0.25, 0.75]},
        "reproducibility": 0.6,
    }


def test_a_model_of_an_earlier_release_has_none(tmp_path):
    assert read_groups(tmp_path) is None


@pytest.mark.parametrize("change", [{"facets": [{"n_groups": 2}]}, {"facets": None}, {"facets": [{"tree": 1}]}])
def test_damage_is_named(tmp_path, change):
    write_groups(tmp_path, GROUPS)
    path = tmp_path / "groups.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        DataError, match=r"groups\.json must describe the groups of every facet, but .* train the model"
    ):
        read_groups(tmp_path)

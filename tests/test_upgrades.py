"""Records of every schema become records of today; those of newer releases are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import upgrades
from pipeline.core.errors import DataError, ResourceError
from pipeline.core.upgrades import (
    MODEL,
    PARAMETERS,
    PICTURES,
    SCORES,
    Form,
    Record,
    read_model_file,
    read_record,
    upgrade_model,
)

FORMS = {name: form for name, form in vars(upgrades).items() if isinstance(form, Form)}


def renamed(record: Record) -> Record:
    return {**{key: value for key, value in record.items() if key != "colour"}, "shade": record["colour"]}


def counted(record: Record) -> Record:
    return {**record, "n": len(record["shade"])}


THIRD = Form((renamed, counted))


@pytest.mark.parametrize(
    "record",
    [
        {"schema": 1, "colour": "red", "kept": [1]},
        {"schema": 2, "shade": "red", "kept": [1]},
        {"schema": 3, "shade": "red", "kept": [1], "n": 3},
    ],
)
def test_each_schema_takes_the_steps_that_it_lacks(record: Record) -> None:
    before = json.dumps(record)
    assert THIRD.upgrade(record, "x.json") == {"schema": 3, "shade": "red", "kept": [1], "n": 3}
    assert json.dumps(record) == before
    assert THIRD.stamp({"shade": "red"}) == {"schema": 3, "shade": "red"}


def test_a_record_without_a_number_is_of_the_first_schema_only_where_a_release_wrote_such_ones() -> None:
    record = {"colour": "red"}
    assert Form((renamed,), unnumbered=True).upgrade(record, "x.json") == {"schema": 2, "shade": "red"}
    with pytest.raises(DataError, match=r"x\.json must state its schema, a number from 1 to 3, got None; run facets"):
        THIRD.upgrade(record, "x.json")


@pytest.mark.parametrize("schema", [0, -1, "1", 1.0, True, None])
def test_what_no_release_wrote_is_damage(schema: Any) -> None:
    with pytest.raises(DataError, match="must state its schema, a number from 1 to 3, got"):
        THIRD.upgrade({"schema": schema}, "x.json")


@pytest.mark.parametrize("record", [[], "text", None, 3])
def test_what_is_no_object_is_damage(record: Any) -> None:
    with pytest.raises(DataError, match=r"x\.json must hold a JSON object, got"):
        THIRD.upgrade(record, "x.json")


@pytest.mark.parametrize("name", FORMS)
def test_a_newer_schema_is_one_line_that_says_what_to_do(name: str, tmp_path: Path) -> None:
    form, path = FORMS[name], tmp_path / "record.json"
    path.write_text(json.dumps({"schema": form.schema + 1}))
    with pytest.raises(ResourceError) as caught:
        read_record(path, form)
    assert str(caught.value) == (
        f"{path} must be of schema {form.schema} or an older one, got {form.schema + 1}, which a newer release wrote; "
        "install that release here, or a later one"
    )


def test_keys_that_no_step_knows_stay() -> None:
    """They do no harm here, and whoever parses a section says which keys are legal."""
    assert THIRD.upgrade({"schema": 3, "shade": "red", "later": 1}, "x.json")["later"] == 1


def test_options_that_were_dropped_are_replaced_in_parameters() -> None:
    old = {
        "seeds": [0],
        "train": {"criterion": "validation_elbo", "batch_size": 8},
        "model": {"network_init": "glorot", "sigma": 1.0},
        "assign": {"assigner": "sample", "batch_size": 4},
    }
    assert PARAMETERS.upgrade(old, "params.json") == {
        "schema": PARAMETERS.schema,
        "seeds": [0],
        "train": {
            "batch_size": 8,
            "hints": {"weight": 50.0, "images": 96},
            "ignores": None,
            "view_weight": 0.0,
        },
        "model": {"network_init": "default", "sigma": 1.0},
        "assign": {"assigner": "exact", "batch_size": 4},
    }
    chosen = {"preprocess": {"labels": "folder"}}
    assert PARAMETERS.upgrade(chosen, "params.json") == {
        "schema": PARAMETERS.schema,
        "preprocess": {
            "labels": "folder",
            "include": None,
            "exclude": None,
            "brightest": None,
            "follow_links": False,
            "features": None,
        },
    }
    kept = {"model": {"network_init": "data_dependent"}, "assign": {"assigner": "mean"}}
    assert PARAMETERS.upgrade(kept, "params.json") == {**kept, "schema": PARAMETERS.schema}
    assert PARAMETERS.upgrade({"model": None, "train": 3}, "params.json") == {
        "schema": PARAMETERS.schema,
        "model": None,
        "train": 3,
    }


def test_a_covariance_of_all_facets_is_one_of_each() -> None:
    def upgraded(model: Record) -> Record:
        return PARAMETERS.upgrade({"model": model}, "params.json")["model"]

    assert upgraded({"covariance": "full", "latent_dims": [2, 3, 4]})["covariance"] == ["full"] * 3
    for damaged in ({"covariance": "full"}, {"covariance": "full", "latent_dims": 3}, {"covariance": None}):
        assert upgraded(damaged) == damaged  # whoever reads it says what is wrong


def test_components_were_not_joined_when_scores_had_no_groups_and_nothing_was_said_when_they_had_no_hints() -> None:
    first = {"schema": 1, "mean": {}}
    assert SCORES.upgrade(first, "metrics.json") == {
        "schema": SCORES.schema,
        "mean": {},
        "groups": {},
        "hints": {},
        "epochs_of": "validation",
    }
    model = {"schema": 4, "model": {"n_components": [4, 3]}, "parameters": 1}
    assert upgrade_model(model, "model.json")["hints"] == [{"trained": 0, "kept_aside": 0}] * 2


def test_accuracies_on_the_same_split_were_the_papers_where_a_model_had_two_assigners() -> None:
    chance = {"accuracy": 0.1, "accuracy_same_split": 0.2}
    scores = {"accuracy": 0.8, "accuracy_same_split": 0.9, "accuracy_same_split_train": 0.7, "chance": chance}
    tree = {"facets": {"facet_0": {"occupied": 3, "factors": {"digit": scores}}}}
    baselines = {"facet_0": {"kmeans": {"digit": scores}, "selected_minus_kmeans": {"digit": {"mean": 0.1}}}}
    upgraded = SCORES.upgrade({"schema": 3, "seeds": {"0": tree}, "baselines": baselines}, "metrics.json")
    with_paper = chance | {"accuracy_paper": 0.2}
    found = upgraded["seeds"]["0"]["facets"]["facet_0"]
    unknown = {"accuracy_same_split": None, "accuracy_same_split_train": None}
    named = {"accuracy_paper": 0.9, "chance": with_paper}
    assert found == {"occupied": 3, "factors": {"digit": scores | unknown | named}}
    assert upgraded["baselines"] == {
        "facet_0": {"kmeans": {"digit": scores | named}, "selected_minus_kmeans": {"digit": {"mean": 0.1}}}
    }


def test_a_model_section_follows_the_schema_of_parameters(tmp_path: Path) -> None:
    first = {"schema": 1, "model_version": "m-0", "model": {"network_init": "glorot"}, "image_shape": [1, 8, 8]}
    (tmp_path / "model.json").write_text(json.dumps(first))
    assert read_model_file(tmp_path) == {
        "schema": MODEL.schema,
        "parameters": PARAMETERS.schema,
        "model_version": "m-0",
        "model": {"network_init": "default"},
        "input": {"kind": "pixels", "dtype": "uint8", "shape": [1, 8, 8], "is_bounded": True},
        "hints": [],
        "bound_on": None,
    }
    seeds = [{"seed": 0, "facets": [{"confidence": 0.5}]}, {"seed": 1, "facets": []}]
    assert upgrade_model({**first, "seeds": seeds}, "model.json")["seeds"] == [
        {"seed": 0, "facets": [{"confidence": 0.5, "certainty": None}]},
        {"seed": 1, "facets": []},
    ]
    today = {"schema": MODEL.schema, "parameters": PARAMETERS.schema, "model": {"network_init": "glorot"}}
    assert upgrade_model(today, "model.json") == today
    with pytest.raises(ResourceError, match=r"model\.json: model must be of schema \d+ or an older one, got 99, which"):
        upgrade_model({**today, "parameters": 99}, "model.json")
    with pytest.raises(DataError, match=r"model\.json: model must state its schema, a number from 1 to"):
        upgrade_model({"schema": MODEL.schema, "model": {}}, "model.json")


def test_a_page_of_an_earlier_release_leaves_counts_to_the_tables() -> None:
    cross = {"first": 0, "second": 1, "row_ids": [0]}
    facets = [{"pool": {"confidence": {"dtype": "uint16"}}, "n_components": 4}]
    page = {"schema": 1, "crosses": [cross | {"counts": {"dtype": "int32"}}], "facets": facets}
    assert PICTURES.upgrade(page, "page.json") == {
        "schema": PICTURES.schema,
        "facets": [{"pool": {"confidence": {"dtype": "uint16"}, "group_confidence": None}, "n_components": 4}],
        "crosses": [cross],
        "redrawn": None,
        "nearest": None,
    }
    assert PICTURES.upgrade({"schema": 1, "images": {"ids": []}}, "page.json") == {
        "schema": PICTURES.schema,
        "images": {"ids": []},
    }

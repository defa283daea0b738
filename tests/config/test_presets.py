"""Presets: what an experiment says, filled in by what it names."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load_params, load_sections
from pipeline.config.load import parameter_origins
from pipeline.config.resolve import KEY, preset_names, preset_values, resolve
from pipeline.config.resolved import write_resolved
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.text import to_json
from tests.repository import PROJECT

FORMER = json.loads((Path(__file__).parent / "former_parameters.json").read_text())
"""Keys of each section and SHA-256 of each experiment, as ``params.yaml`` spelled them out before presets."""

SECTION: dict[str, Any] = {
    "preset": "black_and_white",
    "seeds": [0],
    "preprocess": {"source": "digits"},
    "model": {"hidden": [[8], [8]], "latent_dims": [2, 2], "n_components": [3, 3]},
    "train": {"batch_size": 8, "hints": {"weight": 1.0}, "phases": [{"epochs": 1, "fade_in": 0.0, "refit_at": 0.0}]},
}


def write(root: Path, **changes: Any) -> Path:
    (root / "params.yaml").write_text(yaml.safe_dump({"active": ["a"], "experiments": {"a": {**SECTION, **changes}}}))
    return root


def test_every_former_experiment_has_the_parameters_that_it_had() -> None:
    """The same parameters train bit for bit the same; keys of later releases do not count here."""
    experiments = load_params(PROJECT).experiments
    digests = {name: hashlib.sha256(former_text(experiments[name]).encode()).hexdigest() for name in FORMER["sha256"]}
    assert digests == FORMER["sha256"]


def former_text(experiment: Experiment) -> str:
    values = json.loads(to_json(asdict(experiment)))
    sections = {name: {key: values[name][key] for key in keys} for name, keys in FORMER["keys"].items()}
    return json.dumps({**sections, "seeds": values["seeds"]}, sort_keys=True)


def test_what_is_nearer_counts_and_mappings_are_merged(tmp_path: Path) -> None:
    found = load_params(write(tmp_path)).experiment("a")
    assert (found.model.likelihood, found.model.family, found.train.precision) == ("bernoulli", "dense", "float32")
    assert (found.train.hints.weight, found.train.hints.images) == (1.0, 96)
    assert len(found.train.phases) == 1


def test_each_value_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    found = {key: (value, origin) for key, value, origin in parameter_origins(write(tmp_path), "a")}
    assert found["train.batch_size"] == (8, "params.yaml")
    assert found["model.likelihood"] == ("bernoulli", "preset black_and_white")
    assert found["train.precision"] == ("float32", "preset small_images")
    assert found["train.hints.images"] == (96, "preset standard")
    assert found["train.hints.weight"] == (1.0, "params.yaml")
    assert found["init_mog.pretrain"] == (None, "preset standard")


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_nothing_that_the_one_below_it_says_as_well(name: str) -> None:
    own = yaml.safe_load((PROJECT / "pipeline" / "config" / "presets" / f"{name}.yaml").read_text())
    if KEY in own:
        for section, values in preset_values(own[KEY]).items():
            repeated = [key for key, value in own.get(section, {}).items() if key in values and values[key] == value]
            assert repeated == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "small"}, r"experiments\.a\.preset must be one of black_and_white, .*, standard, got 'small'"),
        ({"preset": None}, r"experiments\.a\.preset must be one of .*, got None"),
        ({"train": {"batchsize": 1}}, r"experiments\.a\.train\.batchsize is unknown \(value 1\); legal keys: phases"),
        ({"train": None}, r"experiments\.a\.train must be a section with keys, got None"),
        ({"seeds": "all"}, r"experiments\.a\.seeds must be a list, got 'all'"),
        ({"preprocess": {}}, r"experiments\.a\.preprocess\.source is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_params(write(tmp_path, **changes))
    assert "earlier release" not in str(caught.value)


def test_a_short_section_without_a_preset_is_told_of_them(tmp_path: Path) -> None:
    short = {key: value for key, value in SECTION.items() if key != "preset"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"active": ["a"], "experiments": {"a": short}}))
    with pytest.raises(
        ConfigError, match=r"a\.init_mog is missing; write it, or name a preset that has it \(black_and"
    ):
        load_params(tmp_path)


def test_stages_read_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    layout = Layout(write(tmp_path), "a")
    with pytest.raises(DataError, match=r"params\.json is missing; run the stage that writes it"):
        load_sections(tmp_path, "a", ("score",))
    write_resolved(layout)
    (tmp_path / "params.yaml").unlink()
    sections = load_sections(tmp_path, "a", ("seeds", "score", "train.device"))
    assert set(vars(sections)) == {"seeds", "score", "train"}
    assert (sections.seeds, sections.score.bootstrap, vars(sections.train)) == ((0,), 1000, {"device": "auto"})
    text = layout.resolved.read_text()
    layout.resolved.write_text(text.replace('"bootstrap": 1000', '"bootstrap": 0'))
    with pytest.raises(ConfigError, match=r"params\.json: score\.bootstrap must lie in \[1, inf\), got 0"):
        load_sections(tmp_path, "a", ("score",))


def test_presets_are_filled_in_as_often_as_asked() -> None:
    assert resolve(SECTION, "a") == resolve(SECTION, "a") == resolve({**resolve(SECTION, "a"), KEY: "standard"}, "a")

"""The real params.yaml and what happens when one of its values is wrong."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load_params
from pipeline.config.safe_yaml import safe_load
from pipeline.core.errors import ConfigError
from tests.repository import PROJECT, shipped_params

REAL = shipped_params()
FEW = {**REAL, "experiments": {"digits": REAL["experiments"]["digits_ladder"]}}
"""A file that is read in a moment."""


def write(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    params = copy.deepcopy(FEW)
    change(params)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return root


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(params: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            params = params[key]
        params[last] = value

    return change


NULL_PATH = REAL["experiments"]["digits"]["preprocess"] | {"source": "folder", "path": "a\0b"}


def test_every_experiment_of_the_project_is_legal() -> None:
    params = load_params(PROJECT)
    assert params.active == tuple(REAL["active"])
    assert set(params.experiments) == set(REAL["experiments"])


def test_two_experiments_do_not_share_a_file_of_hints(tmp_path: Path) -> None:
    both = put("experiments.digits_pairs", FEW["experiments"]["digits"])
    with pytest.raises(
        ConfigError, match=r"must not be called digits and digits_pairs, as hints/digits_pairs\.csv would"
    ):
        load_params(write(tmp_path, both))


def test_an_unknown_experiment_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"experiment 'digit' is unknown; params\.yaml has .*digits"):
        load_params(PROJECT).experiment("digit")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("active", [], "active must name at least one experiment, got an empty list"),
        ("active", ["digts"], r"active names 'digts', which is unknown; params\.yaml has .*digits"),
        ("active", "digits", "active must be a list, got 'digits'"),
        ("activ", [], r"activ is unknown; legal keys at the top of params\.yaml: active, experiments"),
        ("experiments", [], r"experiments must be a section with keys, got \[\]"),
        ("experiments.Digits", {}, "experiments.Digits: a name is lower-case letters, digits and _"),
        ("experiments.digits.seeds", [], r"experiments\.digits: seeds needs at least one number"),
        ("experiments.digits.seeds", [1, 1], r"experiments\.digits: seeds .* no number twice, got \[1, 1\]"),
        ("experiments.digits.seeds", [-1], r"experiments\.digits\.seeds\[0\] must .*got -1"),
        ("experiments.digits.preprocess.source", "cifar", r"preprocess\.source must be one of digits, mnist.*'cifar'"),
        ("experiments.digits.preprocess.source", 5, r"preprocess\.source must be one of digits, .*, zip, got 5"),
        ("experiments.digits.preprocess.source", "tar", r"preprocess: source tar needs a path"),
        ("experiments.digits.preprocess.path", "x", r"preprocess: source digits takes no path"),
        ("experiments.digits.preprocess", NULL_PATH, r"preprocess: path must be a path, which holds no null character"),
        ("experiments.digits.preprocess.source", "npy", r"preprocess: source npy needs a path"),
        ("experiments.digits.preprocess.path", " ", r"preprocess: path must be a folder, a file or a URL, got an"),
        ("experiments.digits.preprocess.size", [8], r"preprocess: size must be \[height, width\] or null, got \[8\]"),
        ("experiments.digits.preprocess.test_fraction", 1.0, r"preprocess\.test_fraction must .*\[0, 1\), got 1\.0"),
        ("experiments.digits.preprocess.test_fraction", -0.1, r"preprocess\.test_fraction must .*got -0\.1"),
        ("experiments.digits.model.hidden", [[8], [0]], r"model\.hidden\[1\]\[0\] must .*got 0"),
        ("experiments.digits.model.hidden", [[8]], r"model: hidden needs 2 block\(s\) .* family dense, got \[\[8\]\]"),
        (
            "experiments.digits.preprocess.follow_links",
            True,
            "follow_links is about folders, which source digits is not",
        ),
        ("experiments.digits.model.n_components", [-3, 4], r"model\.n_components\[0\] must .*got -3"),
        ("experiments.digits.model.n_components", [4], r"model: .* one entry a facet .* got 2, 1 and 2"),
        (
            "experiments.digits.model.family",
            "vit",
            r"model\.family must be one of dense, convolutional, residual, shared",
        ),
        ("experiments.digits.train.batch_size", 0, r"train\.batch_size must .*got 0"),
        ("experiments.digits.train.learning_rate", "fast", r"train\.learning_rate must be of type float, got 'fast'"),
        ("experiments.digits.train.betas", [0.9], r"train: betas needs two numbers, got 1"),
        ("experiments.digits.train.phases", [], r"train: phases needs at least one phase"),
        ("experiments.digits.train.learnin_rate", 1, r"train\.learnin_rate is unknown .*legal keys: .*learning_rate"),
        (
            "experiments.digits.init_mog.pretrain",
            {"layer_epochs": 1, "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "corruption": 0.2},
            r"init_mog\.pretrain needs a dense model of one facet, got family dense with 2 facets; set it to null",
        ),
        (
            "experiments.digits.init_mog.neighbours",
            4,
            r"init_mog\.neighbours needs a model of family residual, got 4 with family dense; set it to 0",
        ),
        ("experiments.digits.train.min_healthy_seeds", 9, r"min_healthy_seeds must be at most the number of seeds"),
        ("experiments.digits.schedule.rebuild", "nightly", r"schedule: a schedule must be a cron .* got 'nightly'"),
        ("experiments.digits.schedule.tidy", "every 0 days", r"schedule: a schedule must be .* got 'every 0 days'"),
        ("experiments.digits.schedule.timezone", "Mars", r"schedule: a time zone must be .* got 'Mars'"),
        ("experiments.digits.publish.gate.max_share", 1.5, r"publish\.gate\.max_share must .*\[0, 1\], got 1\.5"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_legal(tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(write(tmp_path, put(path, value)))


def test_phases_must_match_the_facets(tmp_path: Path) -> None:
    phases = [{"epochs": 1, "fade_in": 0.0, "refit_at": 0.0}] * 3
    with pytest.raises(ConfigError, match=r"train\.phases needs one phase a facet \(2\) or a single one, got 3"):
        load_params(write(tmp_path, put("experiments.digits.train.phases", phases)))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"experiments\.digits\.score\.bootstrap is missing"):
        load_params(write(tmp_path, lambda params: params["experiments"]["digits"]["score"].pop("bootstrap")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"params\.yaml must be YAML, but "),
        ("- 1", r"params\.yaml must be a section with keys, got \[1\]"),
        ("", r"params\.yaml must be a section with keys, got None"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_params(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml is missing; run this in the repository's root"):
        load_params(tmp_path)


def test_the_default_experiment_selects_no_seed_that_its_gate_refuses() -> None:
    digits = load_params(PROJECT).experiment("digits")
    assert digits.train.min_entropy >= digits.publish.gate.min_entropy


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    text = yaml.safe_dump(FEW, sort_keys=False)
    first = text.splitlines().index("    seeds:") + 1
    lines = text.splitlines()
    lines.insert(first - 1, "    seeds: [1]")
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(
        ConfigError, match=rf"the key 'seeds' must stand once .* line {first} and again in line {first + 1}"
    ):
        load_params(tmp_path)


def test_a_section_that_others_repeat_and_change_is_no_key_twice(tmp_path: Path) -> None:
    text = "x-a: &a {k: 1, l: 2}\nx-b: &b {<<: *a, k: 3}\nx-c: {<<: *b, l: 4}\nx-d: *b\n"
    assert safe_load(text) == {
        "x-a": {"k": 1, "l": 2},
        "x-b": {"k": 3, "l": 2},
        "x-c": {"k": 3, "l": 4},
        "x-d": {"k": 3, "l": 2},
    }

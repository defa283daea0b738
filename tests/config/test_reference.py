"""What ``facets params EXP KEY`` says of a key stands beside its field, for all of them."""

from dataclasses import asdict

import pytest

from pipeline.config import load_params
from pipeline.config.reference import Meaning, meanings, meanings_at
from pipeline.config.resolve import flat
from pipeline.core.errors import ConfigError
from tests.repository import PROJECT


def test_every_parameter_has_a_meaning_and_legal_values() -> None:
    found = {one.key: one for one in meanings()}
    assert [key for key, one in found.items() if not (one.meaning and one.legal)] == []
    keys = [key for experiment in load_params(PROJECT).experiments.values() for key, _ in flat(asdict(experiment))]
    assert set(keys) - set(found) == set()


def test_comments_above_and_behind_fields_and_first_lines_of_records_are_read() -> None:
    assert meanings_at("train.batch_size") == [Meaning("train.batch_size", "images a step", "whole number in [1, inf)")]
    (brightest,) = meanings_at("preprocess.brightest")
    assert brightest.meaning.startswith("What becomes white in 16-bit grey files")
    assert brightest.legal == "whole number in [1, 65535], or null"
    gate = meanings_at("publish.gate")
    assert gate[0].meaning.startswith("Health that a model needs")
    assert [one.key.rpartition(".")[2] for one in gate[1:]] == gate[0].legal.removeprefix("section with ").split(", ")
    assert meanings_at("train.phases")[1].key == "train.phases.epochs"


@pytest.mark.parametrize(
    ("key", "legal"),
    [
        ("train.deca", "legal keys of train: phases, "),
        ("train.decay.x", "legal keys of train: phases, "),
        ("publish.gate.x", "legal keys of publish.gate: min_occupied, "),
        ("decay", "legal keys: seeds, preprocess, "),
        ("", "legal keys: seeds, preprocess, "),
    ],
)
def test_an_unknown_key_is_one_line_with_the_legal_ones(key: str, legal: str) -> None:
    with pytest.raises(ConfigError) as caught:
        meanings_at(key)
    assert str(caught.value).startswith(f"parameter {key!r} is unknown; {legal}")

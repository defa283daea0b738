from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from pipeline.config.parse import Range, parse
from pipeline.core.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    name: str
    share: Annotated[float, Range(0, 1, open_maximum=True)]


@dataclass(frozen=True)
class Outer:
    mode: Literal["slow", "fast"]
    counts: tuple[Annotated[int, Range(1)], ...]
    inner: Inner | None

    def __post_init__(self) -> None:
        if self.mode == "fast" and self.inner is None:
            raise ValueError("mode fast needs inner, got none")


LEGAL: dict[str, Any] = {"mode": "slow", "counts": [1, 2], "inner": {"name": "a", "share": 0.5}}


def test_a_legal_mapping_becomes_a_frozen_record() -> None:
    assert parse(Outer, LEGAL, "outer") == Outer("slow", (1, 2), Inner("a", 0.5))


def test_null_is_legal_only_where_declared() -> None:
    assert parse(Outer, {**LEGAL, "inner": None}, "outer").inner is None
    with pytest.raises(ConfigError, match=r"^outer\.counts must be a list, got None$"):
        parse(Outer, {**LEGAL, "counts": None}, "outer")


def test_whole_numbers_serve_as_floats_but_not_the_other_way_round() -> None:
    assert parse(float, 3, "x") == 3.0
    assert type(parse(float, 3, "x")) is float
    with pytest.raises(ConfigError, match=r"^x must be of type int, got 3\.0$"):
        parse(int, 3.0, "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "medium"}, r"^outer\.mode must be one of slow, fast, got 'medium'$"),
        ({"mode": None}, r"^outer\.mode must be one of slow, fast, got None$"),
        ({"counts": 3}, r"^outer\.counts must be a list, got 3$"),
        ({"counts": [1, 0]}, r"^outer\.counts\[1\] must lie in \[1, inf\), got 0$"),
        ({"counts": [True]}, r"^outer\.counts\[0\] must be .*, got True$"),
        ({"inner": [1]}, r"^outer\.inner must be a section with keys, got \[1\]$"),
        ({"inner": {"name": 5, "share": 0.5}}, r"^outer\.inner\.name must be .*, got 5$"),
        ({"inner": {"name": "a", "share": 1}}, r"^outer\.inner\.share must .*\[0, 1\), got 1"),
        (
            {"inner": {"name": "a", "share": "0.5"}},
            r"^outer\.inner\.share must be of type float, got '0\.5' \(YAML reads 1e-3 as text",
        ),
        ({"inner": {"name": "a", "share": float("nan")}}, r"^outer\.inner\.share must be .*, got nan$"),
        ({"inner": {"name": "a"}}, r"^outer\.inner\.share is missing; outer\.inner needs the keys name, share$"),
        ({"extra": 1}, r"^outer\.extra is unknown \(value 1\); legal keys: mode, counts, inner$"),
        ({"mode": "fast", "inner": None}, r"^outer: mode fast needs inner, got none$"),
    ],
)
def test_a_broken_rule_names_key_value_and_what_is_legal(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Outer, {**LEGAL, **change}, "outer")


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        (Range(0, 1), 0, True),
        (Range(0, 1), 1, True),
        (Range(0, 1, open_minimum=True), 0, False),
        (Range(0, 1, open_maximum=True), 1, False),
        (Range(minimum=2), 1e300, True),
        (Range(maximum=2), -1e300, True),
        (Range(maximum=2), 2.1, False),
    ],
)
def test_ranges_know_their_ends(bounds: Range, value: float, expected: bool) -> None:
    assert bounds.contains(value) is expected


def test_ranges_print_as_intervals() -> None:
    assert str(Range(0, 1, open_maximum=True)) == "[0, 1)"
    assert str(Range(open_minimum=True, minimum=0)) == "(0, inf)"

"""``params.yaml`` and ``dvc.lock`` without an experiment: what is left is left byte for byte."""

import pytest
import yaml

from pipeline.config.lock_file import without_stages
from pipeline.config.safe_yaml import safe_load
from pipeline.config.write import with_experiment, without_experiment
from pipeline.core.errors import ConfigError, DataError
from tests.repository import PROJECT, STAGES

SHIPPED = (PROJECT / "params.yaml").read_text(encoding="utf-8")

CASES = {
    "the last one": (
        "active: [a, b]  # both\nexperiments:\n  # first\n  a: {x: 1}  # one\n\n  b:\n    x: 2  # two\n    # a trial\n",
        "active: [a]  # both\nexperiments:\n  # first\n  a: {x: 1}  # one\n",
    ),
    "the first one, whose comment above stays": (
        "experiments:\n  # b and what follows\n  b:\n    x: |\n      text\n\n      more\n\n"
        "  a:\n    x: 1\nactive: [b, a]\n",
        "experiments:\n  # b and what follows\n\n  a:\n    x: 1\nactive: [a]\n",
    ),
    "between two": (
        "active:\n  - a  # stays\n  - b  # goes\n  # stays too\n  - c\nexperiments:\n  a:\n    x: 1\n\n  b:\n    x:\n"
        "      - 1\n      - [2,\n  3]\n\n    # deeper, below it\n\n  # before c\n  c: {}\nx-note: end\n",
        "active:\n  - a  # stays\n  # stays too\n  - c\nexperiments:\n  a:\n    x: 1\n\n"
        "  # before c\n  c: {}\nx-note: end\n",
    ),
    "one that takes values from another": (
        "active: [a]\nexperiments:\n  a:\n    x: &x\n      y: 1\n  b:\n    x: *x  # as a\n  c:\n    <<: {}\n",
        "active: [a]\nexperiments:\n  a:\n    x: &x\n      y: 1\n  c:\n    <<: {}\n",
    ),
    "Windows line ends, none at the end": (
        "active: [a, b, c]\r\nexperiments:\r\n  a: {}\r\n\r\n  b:\r\n    x: ü\r\n\r\n  c: {}",
        "active: [a, c]\r\nexperiments:\r\n  a: {}\r\n\r\n  c: {}",
    ),
    "named twice, in quotes, over lines": (
        "active: [\n  b, a,\n  b ]\nexperiments:\n  'b':\n  a: {}\n",
        "active: [\n  a ]\nexperiments:\n  a: {}\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_only_the_section_and_its_place_go(case: str) -> None:
    before, after = CASES[case]
    assert without_experiment(before, "b") == after


@pytest.mark.parametrize("name", ["digits", "mnist", *list(safe_load(SHIPPED)["experiments"])[-1:]])
def test_of_the_shipped_file_all_other_lines_stay(name: str) -> None:
    left = without_experiment(SHIPPED, name)
    wanted = safe_load(SHIPPED)
    del wanted["experiments"][name]
    wanted["active"] = [each for each in wanted["active"] if each != name]
    assert safe_load(left) == wanted
    kept = iter(SHIPPED.splitlines())
    assert all(line in kept for line in left.splitlines() if not line.startswith("active"))  # the same order
    assert left.count("#") == SHIPPED.count("#")


def test_what_was_added_goes_without_a_trace() -> None:
    section = "  own:\n    # 300 images\n    x: 1  # why\n    # a trial"
    for text in (
        SHIPPED,
        SHIPPED + "\nx-notes:\n  # mine\n  a: 1\n",
        SHIPPED.replace("active: [digits]", "active:\n- digits"),
    ):
        assert without_experiment(with_experiment(text, "own", section), "own") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("active: [a]\nexperiments: {a: {}, b: {}}\n", "one key a line"),
        ("active: [a, # first\n b]\nexperiments:\n  a: {}\n  b: {}\n", "no remark beside b"),
    ],
)
def test_what_cannot_be_cut_out_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        without_experiment(text, "b")


def lock(*experiments: str) -> str:
    stages = {f"{stage}@{name}": {"cmd": stage, "outs": [{"path": name}]} for name in experiments for stage in STAGES}
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)


def test_stages_of_one_experiment_leave_dvc_lock() -> None:
    assert without_stages(lock("a", "b", "bb"), "b") == (lock("a", "bb"), len(STAGES))
    assert without_stages(lock("a"), "b") == (lock("a"), 0)
    assert without_stages(lock(), "b") == (lock(), 0)
    assert without_stages(lock("b"), "b") == ("schema: '2.0'\nstages: {}\n", len(STAGES))
    assert without_stages(lock("b") + "datasets: []\n", "b")[0] == "schema: '2.0'\nstages: {}\ndatasets: []\n"


@pytest.mark.parametrize("text", ["", "[]", "stages: [", "schema: '2.0'\n", "stages: {x@b: {}, y@a: {}}"])
def test_a_dvc_lock_that_dvc_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"dvc\.lock must be as DVC"):
        without_stages(text, "b")

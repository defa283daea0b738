"""Values of one experiment changed in ``params.yaml``, all else as it was."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_params
from pipeline.config.write import line_of, with_values
from pipeline.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
CHANGES = {
    "model.latent_dims": ([10, 1], "the deep facet took everything"),
    "model.sigma": (0.25, "draw less sharply"),
    "train.phases": ([{"epochs": 3, "fade_in": 0.0, "refit_at": 0.5}] * 2, "shorter"),
}
BLOCK = """\
      phases:  # two of them
        - epochs: 40
          fade_in: 0.0
          refit_at: 1.0
        - {epochs: 40, fade_in: 0.3, refit_at: 0.0}  # the last
      # of few images
      batch_size: 32"""


def shipped() -> str:
    return (ROOT / "params.yaml").read_text(encoding="utf-8")


def as_blocks(text: str) -> str:
    """Return params.yaml with the training of digits a key a line, with remarks."""
    start, end = text.index("    train:"), text.index("\n\n  mnist_fast:")
    return f"{text[:start]}    train:\n{BLOCK}{text[end:]}"


@pytest.mark.parametrize(
    "text", [shipped(), as_blocks(shipped()), f"# ä 😀\n{shipped()}"], ids=["braces", "lines", "ä"]
)
def test_only_the_named_values_change(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    before = load_params(tmp_path).experiments
    changed = with_values(text, "digits", CHANGES)
    (tmp_path / "params.yaml").write_text(changed, encoding="utf-8")
    after = load_params(tmp_path).experiments
    digits = after["digits"]
    assert (digits.model.latent_dims, digits.model.sigma) == ((10, 1), 0.25)
    assert [phase.epochs for phase in digits.train.phases] == [3, 3]
    assert digits.train.batch_size == before["digits"].train.batch_size
    assert {name: after[name] for name in before if name != "digits"} == {
        name: one for name, one in before.items() if name != "digits"
    }
    assert "# of few images" in changed or "# of few images" not in text


def test_what_a_facet_ignores_is_written_and_read(tmp_path: Path) -> None:
    ignores = [None, {"rotate": 15, "shift": 10.0}]
    text = with_values(shipped(), "digits", {"train.ignores": (ignores, "digits may stand aslant")})
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    found = load_params(tmp_path).experiment("digits").train.ignores
    assert found == (None, {"rotate": 15.0, "shift": 10.0})
    assert "ignores: [null, {rotate: 15, shift: 10.0}]" in text


@pytest.mark.parametrize(
    ("ignores", "message"),
    [
        ([{"rotate": 15}], r"train\.ignores needs one entry a facet \(2\) or null, got 1"),
        ({"rotate": 15}, r"train\.ignores must be a list, got \{'rotate': 15\}"),
        ([None, {"rotate": "much"}], r"train\.ignores\[1\]\.rotate must be of type float, got 'much'"),
        ([None, {"rotate": 0}], r"train\.ignores\[1\]\.rotate must lie in \(0, 180\], got 0"),
        (
            [None, {"turn": 15}],
            r"train\.ignores\[1\]\.turn is unknown \(value 15\); legal keys: mirrored, rotate, scale",
        ),
        ([None, ["rotate"]], r"train\.ignores\[1\] must name some of mirrored, rotate, .*, got \['rotate'\]"),
    ],
)
def test_what_no_facet_can_ignore_is_refused(tmp_path: Path, ignores: Any, message: str) -> None:
    text = with_values(shipped(), "digits", {"train.ignores": (ignores, "")})
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_params(tmp_path)


def test_a_remark_beside_a_value_gives_way_to_the_reason() -> None:
    text = "active: [a]\nexperiments:\n  a:\n    model:\n      sigma: 0.3  # by the rule\n      n: 1  # kept\n"
    changed = with_values(text, "a", {"model.sigma": (0.6, "vague")})
    assert changed == text.replace("0.3  # by the rule", "0.6  # vague")
    assert line_of(text, "a", "model.n") == 6


def test_a_list_that_is_indented_like_its_key_becomes_one_line() -> None:
    text = "experiments:\n  a:\n    model:\n      dims:\n      - 2\n      - 3\n      n: 1\nactive:\n- a\n"
    assert with_values(text, "a", {"model.dims": ([10, 1], "")}) == text.replace("\n      - 2\n      - 3", " [10, 1]")


def test_what_a_section_leaves_to_its_preset_gets_a_line_or_a_place_in_braces(tmp_path: Path) -> None:
    text = (
        "active: [a]\nexperiments:\n  a:\n    preset: small_images\n    model:\n      sigma: 0.3  # by the rule\n"
        "    train:  # two facets\n      {batch_size: 8}\n\n  b: {}\n"
    )
    changes = {
        "model.hidden": ([[8]], "narrow"),
        "train.phases": ([{"epochs": 3}], "one facet"),
        "init_mog.max_iter": (3, "quick"),
        "init_mog.n_init": (2, "quicker"),
    }
    assert with_values(text, "a", changes) == (
        "active: [a]\nexperiments:\n  a:\n    preset: small_images\n    model:\n      sigma: 0.3  # by the rule\n"
        "      hidden: [[8]]  # narrow\n    train:  # one facet\n      {batch_size: 8, phases: [{epochs: 3}]}\n"
        "    init_mog: {max_iter: 3, n_init: 2}  # quicker\n\n  b: {}\n"
    )
    assert [line_of(text, "a", key) for key in ("model.sigma", "model.hidden", "init_mog.n_init")] == [6, 5, 3]

"""``facets upgrade``: the difference first, then files as this release writes them."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_params
from pipeline.config.upgrade import upgraded
from pipeline.core.errors import BusyError, ConfigError
from pipeline.core.text import to_json
from pipeline.operations.upgrade import changed_files, plan_upgrade, write_changes
from tests.cli.calling import Facets
from tests.repository import PROJECT, shipped_params, tiny_experiment

SPELLED = json.loads(to_json(shipped_params()["experiments"]["digits_ladder"]))


def earlier() -> str:
    """Return a file of an earlier release, one key a line and in braces, with remarks of its owner."""
    sections = {key: value for key, value in SPELLED.items() if key not in ("train", "model")}
    train = {key: value for key, value in SPELLED["train"].items() if key not in ("hints", "ignores", "view_weight")}
    model = {**SPELLED["model"], "covariance": "diagonal", "network_init": "glorot"}
    rest = "".join(
        f"    {key}:  # of {key}\n      {yaml.safe_dump(value, default_flow_style=True, width=10**6)}"
        for key, value in sections.items()
    )
    lines = "\n".join(f"      {key}: {json.dumps(value)}  # because of {key}" for key, value in model.items())
    more = "\n".join(f"      {key}: {json.dumps(value)}" for key, value in train.items())
    text = (
        f"# mine\nactive: [a]  # this one\nexperiments:\n  # of last year\n  a:\n{rest}    model:\n      # as it was\n"
        f"{lines}\n    train:\n      criterion: elbo\n{more}\n\nx-note: kept\n"
    )
    return text.replace("...\n", "")


def test_an_earlier_file_is_as_short_as_todays_and_means_the_same() -> None:
    text = earlier()
    after = upgraded(text)
    found = yaml.safe_load(after)["experiments"]["a"]
    assert found["preset"] == "small_images"
    assert len(after.splitlines()) < 30
    for kept in ("# mine", "# this one", "# of last year", "# as it was", "# because of sigma", "x-note: kept"):
        assert kept in after
    assert "covariance" not in after  # the preset has it so
    assert "criterion" not in after
    root_of = json.loads(to_json(SPELLED))
    root_of["model"] |= {"covariance": ["diagonal", "diagonal"]}
    shown = json.loads(to_json(asdict(load(after))))
    assert shown == root_of
    assert upgraded(after) == after


def load(text: str):
    from pipeline.operations.params_file import checked_params

    return checked_params(text).experiment("a")


def test_the_shipped_file_and_a_tiny_one_are_of_today() -> None:
    shipped = (PROJECT / "params.yaml").read_text()
    assert upgraded(shipped) == shipped


def test_values_that_sections_share_are_spelled_out(tmp_path: Path) -> None:
    tiny = tiny_experiment()
    text = yaml.safe_dump({"active": ["a"], "experiments": {"a": tiny}}, sort_keys=False)
    text = text.replace("  a:\n", "  a: &a\n").replace("    score:\n", "    score: &score\n")
    text += "  b: *a\n  c:\n    <<: *a\n    # fewer\n    seeds: [5]\n  d:\n    <<: *a\n    score: *score\n"
    (tmp_path / "params.yaml").write_text(text)
    before = load_params(tmp_path)
    (change,) = plan_upgrade(tmp_path)
    assert (tmp_path / "params.yaml").read_text() == text
    write_changes(tmp_path, [change])
    after = (tmp_path / "params.yaml").read_text()
    assert "*" not in after.replace("* * *", "")
    assert "<<" not in after
    assert "# fewer" in after
    assert load_params(tmp_path) == before
    assert plan_upgrade(tmp_path) == []


def test_a_section_that_names_a_preset_loses_what_went_and_gains_nothing_that_the_preset_has(tmp_path: Path) -> None:
    text = (
        "active: [a]\nexperiments:\n  a:\n    preset: small_images\n    seeds: [0]\n    preprocess: {source: digits}\n"
        "    model: {hidden: [[8], [8]], latent_dims: [2, 2], n_components: [3, 3], sigma: 0.1}\n"
        "    train:\n      criterion: elbo  # of old\n      batch_size: 8  # few\n"
        "      phases: [{epochs: 1, fade_in: 0.0, refit_at: 0.0}]\n"
    )
    assert upgraded(text) == text.replace("      criterion: elbo  # of old\n", "")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"criterion is unknown .*; an earlier release wrote it: facets upgrade shows"
    ):
        load_params(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "params.yaml must be YAML"),
        ("active: [a]\nexperiments:\n  a: 3\n", r"experiments\.a must be a section with keys, got 3"),
        ("active: [a]\nexperiments:\n  a: {preset: odd}\n", r"experiments\.a\.preset must be one of"),
        ("active: [a]\nexperiments: {a: {preset: standard, seeds: [1]}}\n", r"a\.preprocess\.source is missing"),
    ],
)
def test_what_no_release_wrote_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        upgraded(text)


def test_the_difference_comes_first_and_yes_writes_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(earlier().replace("\n", "\r\n").encode())
    monkeypatch.chdir(tmp_path)
    facets = Facets(monkeypatch, capfd)
    shown = facets("upgrade")
    assert (shown.code, path.read_bytes()) == (0, earlier().replace("\n", "\r\n").encode())
    assert "\n-      criterion: elbo\n" in shown.out
    assert "\n+    preset: small_images\n" in shown.out
    assert shown.out.endswith("\nnext     nothing is written yet; facets upgrade --yes does it\n")
    assert facets("upgrade", "--yes").out.endswith("\nwritten  params.yaml\n")
    assert path.read_bytes().decode() == upgraded(earlier()).replace("\n", "\r\n")
    assert facets("upgrade").out == "nothing to do: all files are as this release writes them\n"
    assert json.loads(facets("upgrade", "--json").out) == {"written": False, "files": []}
    assert "train.batch_size" in facets("params", "a").out


def test_a_file_that_changes_meanwhile_is_left_alone(tmp_path: Path) -> None:
    changes = changed_files(tmp_path, [("new.txt", "one\n"), ("sub/other.txt", "two\n")])
    assert [change.difference for change in changes] == [
        "--- new.txt\n+++ new.txt\n@@ -0,0 +1 @@\n+one\n",
        "--- sub/other.txt\n+++ sub/other.txt\n@@ -0,0 +1 @@\n+two\n",
    ]
    (tmp_path / "new.txt").write_text("mine\n")
    with pytest.raises(
        BusyError, match=r"new\.txt has changed since the difference was made; run facets upgrade again"
    ):
        write_changes(tmp_path, changes)
    assert (tmp_path / "new.txt").read_text() == "mine\n"
    (tmp_path / "new.txt").unlink()
    write_changes(tmp_path, changes)
    assert (tmp_path / "sub" / "other.txt").read_text() == "two\n"
    assert changed_files(tmp_path, [("new.txt", "one\n"), ("sub/other.txt", "two\n")]) == []

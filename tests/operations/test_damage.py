"""Damage of what the product wrote: named by a check, mended by a repair, never served, never a traceback."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import describe_machine
from pipeline.core.errors import ModelError, PublishError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.model import load_model
from pipeline.operations.check import check_experiments
from pipeline.operations.consent import require_consent
from pipeline.operations.fingerprint import is_up_to_date, remember
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import remove
from pipeline.operations.run_log import log_run, read_runs
from tests.operations.damage import DAMAGES, UNMENDABLE, files, prepare, record, rows, trial
from tests.operations.test_ingest import save
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.repository import PROJECT, Repository

pytestmark = pytest.mark.no_shapes  # the operations' own tests check shapes

RESULTS = PROJECT / "benchmarks" / "results" / "damage.json"

KINDS = {
    "published/tiny/manifest.json": "delete",
    "published/tiny/parts/*/b-*/facet_0.parquet": "flip",
    "published/tiny/parts/content/*.hashes": "flip",
    "published/tiny/models/*/seed-*.safetensors": "flip",
    "data/batches/tiny/*/batch.json": "empty",
    "data/batches/tiny/*/shard.h5": "flip",
}
"""One file of each kind, and one way in which it is damaged."""


@pytest.fixture(scope="module")
def whole(template: Repository, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The same with git and DVC, which know more and have copies of their own."""
    root = template.copy(tmp_path_factory.mktemp("damage") / "whole").root
    prepare(root)
    return root, rows(root)


@pytest.fixture(scope="module")
def start(tiny_template: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An experiment with a batch and a name, and what its readers see."""
    root = tiny_template.copy(tmp_path_factory.mktemp("damage") / "start").root
    prepare(root)
    return root, rows(root)


@pytest.mark.parametrize("file", KINDS)
def test_a_damaged_file_is_named_and_mended(start: tuple[Path, dict[str, Any]], tmp_path: Path, file: str) -> None:
    root, expected = start
    path = next(root.glob(file))
    case = trial(root, tmp_path, str(path.relative_to(root)), KINDS[file], expected)
    assert case.tracebacks == []
    assert (case.named, case.wrong_rows, case.same_rows) == (True, False, True)
    assert case.mended == (path.name not in UNMENDABLE)


@pytest.mark.soak
@pytest.mark.no_cover
def test_every_file_in_every_way(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, expected = whole
    cases = [trial(root, tmp_path, file, damage, expected) for file in files(root) for damage in DAMAGES]
    write_result(cases)
    assert [case for case in cases if case.tracebacks or case.wrong_rows] == []
    assert [case for case in cases if not case.named and not case.exempt] == []
    assert {Path(case.file).name for case in cases if not case.mended} <= set(UNMENDABLE)
    assert [case for case in cases if not case.same_rows] == []


def write_result(cases: list[Any]) -> None:
    """Note the whole table."""
    mended = sum(case.mended for case in cases)
    result = {
        "command": "make soak",
        "machine": describe_machine(),
        "cases": len(cases),
        "named": sum(case.named for case in cases),
        "exempt": sum(bool(case.exempt and not case.named) for case in cases),
        "mended": mended,
        "not_mendable": len(cases) - mended,
        "tracebacks": sum(bool(case.tracebacks) for case in cases),
        "wrong_rows": sum(case.wrong_rows for case in cases),
        "table": record(cases),
    }
    RESULTS.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


def test_weights_with_one_flipped_bit_are_not_loaded(tiny: Tiny) -> None:
    folder = tiny.history.model_folder()
    (weights,) = folder.glob("seed-*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"must hold the weights of model m-.*run facets check --repair"):
        load_model(folder)


def test_a_lost_list_of_removed_images_is_not_taken_for_an_empty_one(tiny: Tiny, tmp_path: Path) -> None:
    gone = tiny.image_ids()[:3]
    remove(tiny.layout, image_ids=gone)
    tiny.layout.removed.unlink()
    with pytest.raises(PublishError, match=r"removed/tiny.json is missing; run facets check tiny --repair"):
        ingest(tiny.layout, tiny.params, save(tmp_path / "new.npy", new_images(5)))
    assert check_experiments(tiny.root, [EXPERIMENT], mend=True)[EXPERIMENT].problems == ()
    assert read_id_list(tiny.layout.removed) == gone


def test_what_an_earlier_release_published_is_checked_and_gains_checksums_and_copies(tiny: Tiny) -> None:
    expected = rows(tiny.root)
    published = tiny.layout.published
    for path in {*published.rglob("copies"), *published.rglob("files.json")}:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in published.glob("*/*.json"):
        bare = json.loads(path.read_text())
        write_json(path, {key: value for key, value in bare.items() if key not in ("checksum", "digests")})
    assert rows(tiny.root) == expected
    assert tiny.history.check() == []
    result = check_experiments(tiny.root, [EXPERIMENT], mend=True)[EXPERIMENT]
    assert result.problems == ()
    assert any("files.json" in line for line in result.mended)
    assert "digests" in json.loads(next(published.glob("lists/*.json")).read_text())
    assert rows(tiny.root) == expected


def test_a_run_log_that_was_cut_off_goes_on_in_a_new_line(tmp_path: Path) -> None:
    log_run(tmp_path, "rebuild", {"experiment": "a", "stages": [{"stage": "train", "seconds": 90.0}]})
    path = tmp_path / ".work" / "logs" / "runs.jsonl"
    with path.open("ab") as file:
        file.write(b'{"operation": "rebuild", "experiment": "a", "stages": [{"stage": "tr\xff')
    log_run(tmp_path, "ingest", {"experiment": "a"})
    assert [run["operation"] for run in read_runs(tmp_path)] == ["rebuild", "ingest"]
    require_consent(Layout(tmp_path, "a"), {"train": "input pipeline/model modified"}, ask_minutes=2.0)


@pytest.mark.parametrize("damage", ["empty", "half", "delete"])
def test_a_damaged_fingerprint_only_means_that_nothing_is_known(tiny: Tiny, damage: str) -> None:
    remember(tiny.layout)
    assert is_up_to_date(tiny.layout)
    DAMAGES[damage](tiny.root / ".work" / EXPERIMENT / "fingerprint.json")
    assert not is_up_to_date(tiny.layout)


@pytest.mark.parametrize("name", ["pipeline/page/static/base.js", "pipeline/model/dense.py", "stages/run"])
def test_what_is_no_python_counts_as_code_too(tiny: Tiny, name: str) -> None:
    path = tiny.root / name
    path.parent.mkdir(parents=True)
    for text in ("one", "other"):
        path.write_text(text)
        assert not is_up_to_date(tiny.layout)
        remember(tiny.layout)
        (path.parent / "__pycache__").mkdir(exist_ok=True)
        (path.parent / "__pycache__" / "x.pyc").write_text(text)
        assert is_up_to_date(tiny.layout)

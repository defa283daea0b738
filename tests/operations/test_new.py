"""A new experiment for a person's own images."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.config import load_params
from pipeline.core.errors import ConfigError, DataError, ResourceError
from pipeline.core.layout import Layout
from pipeline.operations.locks import params_lock
from pipeline.operations.new import add_experiment

pytestmark = pytest.mark.no_shapes  # test_propose.py checks them

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty grey pictures of 28 by 28 pixels."""
    place = tmp_path / "pictures"
    place.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(place / f"{number}.png")
    return place


def test_the_section_is_valid_and_active(root: Path, folder: Path) -> None:
    before = load_params(root)
    found = add_experiment(root, "own", str(folder))
    after = load_params(root)
    assert after.active == (*before.active, "own")
    assert found.active == list(after.active)
    assert after.experiment("own").preprocess.source == "folder"
    assert found.text in (root / "params.yaml").read_text(encoding="utf-8")
    with Image.open(found.contact_sheet) as sheet:
        assert min(sheet.size) > 28


def test_other_experiments_keep_their_values(root: Path, folder: Path) -> None:
    before = load_params(root).experiments
    add_experiment(root, "own", str(folder))
    after = load_params(root).experiments
    assert {name: after[name] for name in before} == before


def test_a_taken_name_is_refused(root: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"a name of its own, got 'digits', which params\.yaml has already"):
        add_experiment(root, "digits", str(folder))


@pytest.mark.parametrize("name", ["Own", "1st", "a b"])
def test_a_bad_name_leaves_the_parameters_alone(root: Path, folder: Path, name: str) -> None:
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"a name is lower-case letters, digits and _"):
        add_experiment(root, name, str(folder))
    assert (root / "params.yaml").read_bytes() == before


def test_a_folder_without_images_leaves_the_parameters_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(DataError):
        add_experiment(root, "own", str(tmp_path / "empty"))
    assert (root / "params.yaml").read_bytes() == before


def shapes_of_the_file(text: str) -> dict[str, str]:
    """Return params.yaml as people or ``dvc exp run -S`` may leave it."""
    active = "active: [digits]\n"
    moved = text.replace(active, "")
    return {
        "as shipped": text,
        "active as lines": text.replace(active, "active:\n- digits\n"),
        "active as indented lines": text.replace(active, "active:\n  - digits  # the one\n"),
        "active last": f"{moved.rstrip()}\n\n# What is rebuilt.\n{active}",
        "active last, as lines": f"{moved.rstrip()}\nactive:\n- digits\n",
        "four spaces": moved.replace("\n  ", "\n    ") + active,
        "umlauts": f"# ä € 😀\n{text}",
    }


@pytest.mark.parametrize("shape", shapes_of_the_file(""))
def test_all_else_in_the_file_stays(root: Path, folder: Path, shape: str) -> None:
    path = root / "params.yaml"
    path.write_text(shapes_of_the_file(path.read_text(encoding="utf-8"))[shape], encoding="utf-8")
    before, lines = load_params(root), path.read_text(encoding="utf-8").splitlines()
    add_experiment(root, "own", str(folder))
    after = load_params(root)
    assert after.active == (*before.active, "own")
    assert {name: after.experiments[name] for name in before.experiments} == before.experiments
    kept = path.read_text(encoding="utf-8").splitlines()
    changed = [line for line in lines if line not in kept]
    assert changed in ([], ["active: [digits]"])
    add_experiment(root, "other", str(folder))
    assert load_params(root).active == (*before.active, "own", "other")


def test_experiments_in_braces_are_refused(root: Path, folder: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    (root / "params.yaml").write_text(yaml.safe_dump(params, default_flow_style=True))
    with pytest.raises(ConfigError, match=r"experiments in params\.yaml must be one key a line"):
        add_experiment(root, "own", str(folder))


def test_of_experiments_that_are_added_at_once_none_is_lost(root: Path, folder: Path) -> None:
    """All have read the file before the first one may write it."""
    names = [f"own{number}" for number in range(4)]
    program = "import sys; from pathlib import Path; from pipeline.operations.new import add_experiment as add\n"
    program += "print(add(Path(sys.argv[1]), sys.argv[2], sys.argv[3]).active)"
    with params_lock(root, "test"):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(root), name, str(folder)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for name in [*names, names[0]]
        ]
        for process in running:
            assert process.stderr is not None
            assert "waiting, because pid" in process.stderr.readline()
    said = [process.communicate(timeout=120)[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 0, 0, 0, 1], said
    assert sum("needs a name of its own, got 'own0'" in text for text in said) == 1
    assert sorted(load_params(root).active) == ["digits", *names]


def test_a_name_of_which_something_published_is_left_is_refused(root: Path, folder: Path) -> None:
    history = Layout(root, "own").history
    history.parent.mkdir(parents=True)
    history.write_text(json.dumps({"version": 1, "model_version": "m-0", "created": "2026-01-01"}))
    with pytest.raises(ConfigError, match=r"of its own, got 'own', of which data/history/own.json is left; .*drop own"):
        add_experiment(root, "own", str(folder))


@pytest.mark.parametrize("place", [".", "..", "linked"])
def test_the_repository_is_no_source(root: Path, folder: Path, place: str) -> None:
    (root / "linked").symlink_to(root)
    with pytest.raises(DataError, match=r"must lie apart from the repository, got .*name their own folder"):
        add_experiment(root, "own", str(root / place))
    add_experiment(root, "own", str(folder))  # a folder in it is


def test_lines_end_as_they_did_and_a_link_stays_one(root: Path, folder: Path, tmp_path: Path) -> None:
    path, real = root / "params.yaml", tmp_path / "elsewhere.yaml"
    real.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path.unlink()
    path.symlink_to(real)
    add_experiment(root, "own", str(folder))
    assert path.is_symlink()
    written = real.read_bytes()
    assert b"own:\r\n" in written
    assert written.count(b"\n") == written.count(b"\r\n")


def test_what_cannot_be_drawn_is_not_added(root: Path, folder: Path) -> None:
    (root / ".work").mkdir()
    (root / ".work" / "own").write_text("in the way")
    with pytest.raises(ResourceError):
        add_experiment(root, "own", str(folder))
    assert "own" not in load_params(root).experiments

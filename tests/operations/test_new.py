"""A new experiment for a person's own images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import load_params
from pipeline.errors import ConfigError, DataError
from pipeline.operations.new import add_experiment

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


def test_parameters_without_an_active_list_in_brackets_are_refused(root: Path, folder: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("active: [digits]", "active:\n- digits"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"must have a line active: \[\.\.\.\]"):
        add_experiment(root, "own", str(folder))

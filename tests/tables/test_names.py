import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.tables import names
from pipeline.tables.names import load_names, set_name

MINTED = {"f0-c000": "m-a", "f0-c001": "m-a"}


def test_names_are_kept_sorted_and_read_back(tmp_path):
    path = tmp_path / "names" / "toy.csv"
    set_name(path, "f0-c001", "seven, slanted", MINTED, note='a "7"')
    set_name(path, "f0-c000", "zero", MINTED)
    assert path.read_text().splitlines()[:2] == ["uid,name,note,minted_by", "f0-c000,zero,,m-a"]
    assert load_names(path, MINTED) == {"f0-c000": ("zero", ""), "f0-c001": ("seven, slanted", 'a "7"')}


def test_an_empty_name_takes_the_name_away(tmp_path):
    path = tmp_path / "toy.csv"
    set_name(path, "f0-c000", "zero", MINTED)
    set_name(path, "f0-c000", "", MINTED)
    assert load_names(path, MINTED) == {}


def test_no_file_has_no_names(tmp_path):
    assert load_names(tmp_path / "toy.csv", MINTED) == {}


def test_unknown_uid_cannot_be_named(tmp_path):
    with pytest.raises(ConfigError, match="needs a published cluster_uid or group_uid, got 'f9-c000'"):
        set_name(tmp_path / "toy.csv", "f9-c000", "x", MINTED)


def test_names_of_another_history_are_ignored_with_a_warning(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("uid,name,note,minted_by\nf0-c000,zero,,m-other\nf0-c001,one,,m-a\n")
    with pytest.warns(UserWarning, match="another history and are ignored: f0-c000"):
        assert load_names(path, MINTED) == {"f0-c001": ("one", "")}


def test_missing_column_is_named(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("uid,name\nf0-c000,zero\n")
    with pytest.raises(DataError, match="must have the columns uid, name, note, minted_by, got no note, minted_by"):
        load_names(path, MINTED)


def test_columns_of_people_or_of_newer_releases_stay(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("uid,owner,name,note,minted_by\nf0-c000,Ada,zero,,m-a\n")
    set_name(path, "f0-c001", "one", MINTED)
    set_name(path, "f0-c000", "nought", MINTED)
    assert path.read_text().splitlines() == [
        "uid,name,note,minted_by,owner",
        "f0-c000,nought,,m-a,Ada",
        "f0-c001,one,,m-a,",
    ]


def test_a_column_that_a_later_release_adds_is_empty_in_files_without_it(tmp_path, monkeypatch):
    path = tmp_path / "toy.csv"
    set_name(path, "f0-c000", "zero", MINTED)
    monkeypatch.setattr(names, "_HEADER", [*names._HEADER, "colour"])
    assert names.read_names(path)[0]["colour"] == ""
    set_name(path, "f0-c001", "one", MINTED)
    assert path.read_text().splitlines()[:2] == ["uid,name,note,minted_by,colour", "f0-c000,zero,,m-a,"]


def test_file_must_be_text(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="must be a CSV in UTF-8"):
        load_names(path, MINTED)


def test_a_short_row_and_a_spreadsheet_mark_do_no_harm(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("\ufeffuid,minted_by,name,note\nf0-c000,m-a,zero\n", encoding="utf-8")
    assert load_names(path, MINTED) == {"f0-c000": ("zero", "")}


def test_control_characters_that_somebody_wrote_are_named(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text("uid,name,note,minted_by\nf0-c000,ze\x1b[31mro,,m-a\n")
    with pytest.raises(DataError, match=r"without control characters, got .*\\x1b"):
        load_names(path, MINTED)
    path.write_text('uid,name,note,minted_by\nf0-c000,zero,"two\nlines\tlong",m-a\n')
    assert load_names(path, MINTED) == {"f0-c000": ("zero", "two lines long")}


def test_an_empty_file_is_said_in_one_line(tmp_path):
    (tmp_path / "toy.csv").touch()
    with pytest.raises(DataError, match=r"toy.csv must have the columns uid, name, note, minted_by, got no uid"):
        load_names(tmp_path / "toy.csv", {})

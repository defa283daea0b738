"""Tables of labels as people write them: none of them vanishes without a word."""

import zipfile
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.readers.own_labels import FoundLabels, find_tables, labels_of_files, labels_of_rows
from pipeline.datasets.readers.tar import Archive
from pipeline.onboarding.propose import propose_experiment
from tests.datasets.builders import preprocess
from tests.datasets.pictures import encode, picture

NAMES = ["a/1.png", "a/2.jpg", "b/1.png", "3.png"]
PLAIN = "file,kind\n3.png,dog\na/1.png,cat\nb/1.png,dog\n"
"""Of it, and of every table below: cat, nothing, dog, dog."""

TABLES: dict[str, str | bytes] = {
    "plain": PLAIN,
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "a spreadsheet's": "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
    "a comma inside quotes": PLAIN.replace(",", ";").replace("file;kind", '"file";"kind"'),
    "UTF-16, little end first": PLAIN.encode("utf-16-le").join([b"\xff\xfe", b""]),
    "UTF-16, big end first": PLAIN.encode("utf-16-be").join([b"\xfe\xff", b""]),
    "with an index": ",file,kind\n0,3.png,dog\n1,a/1.png,cat\n2,b/1.png,dog\n",
    "with an index read twice": "Unnamed: 0,file,kind\n0,3.png,dog\n1,a/1.png,cat\n2,b/1.png,dog\n",
    "files behind labels": "kind,file\ndog,3.png\ncat,a/1.png\ndog,b/1.png\n",
    "absolute paths": "file,kind\n/home/me/3.png,dog\n/home/me/a/1.png,cat\n/home/me/b/1.png,dog\n",
    "paths of Windows": "file,kind\nC:\\me\\3.png,dog\nC:\\me\\a\\1.png,cat\nC:\\me\\b\\1.png,dog\n",
    "files elsewhere of the same name": PLAIN + "other/a/1.png,dog\n",
    "without endings": PLAIN.replace(".png", ""),
    "the same said twice": PLAIN + "3.png,dog\n",
    "files that are not there": PLAIN + "lost.png,fish\n",
    "NaN": PLAIN + "a/2.jpg,NaN\n",
    "spaces and empty lines": PLAIN.replace(",", " , ").replace("\n", "\n\n"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_as_people_and_programs_write_it(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / "labels.csv", TABLES[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = labels_of_files(str(path), NAMES)
    values, names = found.values["kind"].tolist(), found.class_names["kind"]
    assert [names[value] if value >= 0 else None for value in values] == ["cat", None, "dog", "dog"]
    assert list(found.values) == ["kind"]


def test_names_alone_are_enough_where_they_are_unique(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,kind\n2.jpg,cat\n1.png,dog\n3.png,cow\n")
    found = labels_of_files(str(tmp_path / "labels.csv"), ["a/1.png", "a/2.jpg", "b/1.png", "c/3.png"])
    assert found.values["kind"].tolist() == [-1, 0, -1, 1]  # 1.png may be either


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.0", "", "3.0"], [1, -1, 3]),
        (["1", "-1", "3"], [1, -1, 3]),
        (["nan", "0", "7"], [-1, 0, 7]),
        (["1.5", "0", "1.5"], [1, 0, 1]),  # texts: their classes are numbered
        (["9" * 5000, "a", "a"], [0, 1, 1]),
    ],
)
def test_numbers_as_data_frames_write_them(tmp_path: Path, cells: list[str], expected: list[int]) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["kind,other", *(f"{cell},7" for cell in cells)]) + "\n")
    assert labels_of_rows(str(path), 3).values["kind"].tolist() == expected


def test_a_table_about_something_else_is_not_taken_for_labels(tmp_path: Path) -> None:
    """Its second column has a number that is the name of one file, as counts of anything have."""
    path = tmp_path / "labels.csv"
    path.write_text("town,count\nBern,3\nRome,900\nOslo,77\nParis,512\n")
    with pytest.raises(DataError, match=r"must name files as they lie below the folder, e\.g\. '1\.png'"):
        labels_of_files(str(path), [f"{n}.png" for n in range(1, 9)])


def test_some_labelled_files_are_enough_and_the_column_with_most_of_them_names_files(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("number,image,kind\n7,1,a\n90,2,b\n91,400,a\n")
    found = labels_of_files(str(path), [f"{n}.png" for n in range(1, 9)])
    assert found.class_names["kind"] == ["a", "b"]
    assert found.values["kind"].tolist() == [0, 1, -1, -1, -1, -1, -1, -1]


def test_two_answers_for_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,kind\n/here/a/1.png,cat\n/there/a/1.png,dog\n")
    with pytest.raises(DataError, match=r"must name a file once, got 'a/1.png' again in line 3; remove one"):
        labels_of_files(str(path), NAMES)


def test_classes_are_not_taken_for_names_of_files(tmp_path: Path) -> None:
    """Ten classes as numbers name ten of the files that are numbered, again and again."""
    path, names = tmp_path / "labels.csv", [f"{number}.png" for number in range(60)]
    path.write_text("file;c;d\n" + "".join(f"nix{number};{number % 10};\n" for number in range(60)))
    with pytest.raises(
        DataError, match=r"must name files as they lie below the folder, .* got 'nix0'; .* column 'file'"
    ):
        labels_of_files(str(path), names)
    path.write_text("file;c\n" + "".join(f"{number};{number % 10}\n" for number in range(60)))
    assert labels_of_files(str(path), names).values["c"].tolist() == [number % 10 for number in range(60)]


@pytest.mark.parametrize("table", ["labels.csv", "labels.tsv", "metadata.csv", "metadata.tsv"])
def test_a_table_is_found_beside_the_images_or_it_is_said_why_not(tmp_path: Path, table: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.png").write_bytes(encode(picture(number)))
    separator = "\t" if table.endswith("tsv") else ","
    lines = ["file_name,kind", *(f"{number}.png,{number % 3}" for number in range(20))]
    (folder / table).write_text("\n".join(lines).replace(",", separator))
    assert f"labels: {table}  # only scoring" in propose_experiment(Layout(tmp_path, "x"), "mine").text
    (folder / table).write_text("\n".join([*lines, "0.png,7"]).replace(",", separator))
    proposal = propose_experiment(Layout(tmp_path, "x"), "mine")
    assert "labels: " not in proposal.text
    assert f"{table} is not used as labels: {folder / table} must name a file once" in "\n".join(proposal.notes)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Return the reader of a ZIP of ten pictures with a table of labels in it."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for number in range(10):
            packed.writestr(f"in/{number}.png", encode(picture(number)))
        packed.writestr("in/labels.csv", "file,kind\n")
    params = preprocess(source="zip", path="photos.zip")
    return Archive(params, Layout(tmp_path, "x"))


def test_a_table_beside_an_archive_is_found_and_one_inside_is_named(archive: Archive, tmp_path: Path) -> None:
    inside = "in/labels.csv lies in the archive; a table of labels is read from beside it, put it there"
    assert archive.possible_labels() == FoundLabels(None, (inside,))
    (tmp_path / "metadata.csv").write_text("".join(["file,kind\n", *(f"{n}.png,{n % 2}\n" for n in range(10))]))
    assert archive.possible_labels() == FoundLabels("metadata.csv", (inside,))


def test_tables_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(10)]
    lines = {name: [name, "cat" if name < "5" else "dog", "3"] for name in names}
    for table, changed in {"labels.csv": {}, "metadata.csv": {"1.png": "dog", "2.png": "cow", "3.png": ""}}.items():
        rows = [[name, changed.get(name, kind), place] for name, kind, place in lines.values()]
        (tmp_path / table).write_text("\n".join(map(",".join, [["file", "kind", "place"], *rows])))
    found = find_tables(str(tmp_path), names)
    assert found.value == "labels.csv"
    assert found.remarks == (
        "metadata.csv says otherwise than labels.csv of 2 images, in column kind; labels.csv is used, or name the "
        "other one in preprocess.labels",
    )

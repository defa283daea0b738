from pathlib import Path

import pytest

from pipeline.asking.form import Answer, read_answers, write_answers
from pipeline.core.errors import DataError

ODD = ["a/b c.png", "=SUM(A1).png", "'-x.png", 'say "no", please.png', "ä.png"]


def test_questions_come_back_as_they_were_asked_whatever_the_files_are_called(tmp_path: Path) -> None:
    path = tmp_path / "form.csv"
    asked = [Answer(name, 1, "") for name in ODD]
    write_answers(path, asked)
    first, second, third, *_ = path.read_text().splitlines()
    assert [first, second, third] == ["image,facet,label", "a/b c.png,1,", "'=SUM(A1).png,1,"]
    assert read_answers(path) == asked
    answered = [answer._replace(label=label) for answer, label in zip(asked, ["s0", "=1", "", "0", "x y"], strict=True)]
    write_answers(path, answered)
    assert read_answers(path) == answered


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "form.csv"
    path.write_bytes("image;facet;label;note\r\na.png;0; red ;?\r\nb.png;1;;\r\n".encode("utf-8-sig"))
    assert read_answers(path) == [Answer("a.png", 0, "red"), Answer("b.png", 1, "")]
    assert read_answers(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("image,label\na.png,x\n", "must have the columns image, facet, label, got no facet; add them"),
        ("image,facet,label\na.png,one,x\n", "must name a facet, 0, 1, …, in every line, got 'one' in line 2"),
        ("image,facet,label\na.png,0,x\n,0,x\n", "must name an image in every line, got none in line 3"),
        ("image,facet,label\na.png,0,x\x1b[2J\n", "must be text without control characters, got"),
        ("image,facet,label\na.png,0\n", "must have 3 cells in every line, got 2 in line 2"),
    ],
)
def test_a_damaged_form_is_refused_with_its_line(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "form.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        read_answers(path)
    assert rule in str(refused.value)
    assert "form.csv" in str(refused.value)

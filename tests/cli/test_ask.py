"""``facets ask``, from the question to the hints."""

import csv
import json

from tests.cli.calling import Facets
from tests.repository import EXPERIMENT, Repository


def test_questions_are_asked_answered_and_not_asked_again(facets: Facets, inside: Repository) -> None:
    shown = facets("ask", EXPERIMENT, "--facet", "1", "-n", "3")
    assert shown.code == 0
    form, sheet = (inside.root / "ask" / EXPERIMENT / f"facet_1.{ending}" for ending in ("csv", "html"))
    assert "tiny: 3 images to ask about in facet 1, by 2 models; 0 images with a hint before\n" in shown.out
    assert f"look    {sheet}\nfill in {form}\nnext    facets ask tiny --read {form}\n" in shown.out
    assert sheet.read_text().count("<img ") == 3
    with form.open(newline="") as file:
        header, *rows = csv.reader(file)
    form.write_text("\n".join([",".join(header), *(f"{image},{facet},wide" for image, facet, _ in rows)]) + "\n")
    refused = facets("ask", EXPERIMENT, "--facet", "1")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "must not hold answers that were not read yet, got 3" in refused.err
    told = facets("ask", EXPERIMENT, "--read", str(form), "--json")
    assert json.loads(told.out) == {"hints": str(inside.root / "hints" / "tiny.csv"), "new": 3}
    assert (inside.root / "hints" / "tiny.csv").read_text() == form.read_text()
    again = json.loads(facets("ask", EXPERIMENT, "--facet", "1", "-n", "5", "--json").out)
    assert again["hinted"] == 3
    assert len(again["images"]) == 5
    assert {image for image, *_ in rows}.isdisjoint(again["images"])


def test_either_a_question_or_answers(facets: Facets, inside_template: Repository) -> None:
    for arguments in ([], ["--facet", "1", "--read", "form.csv"]):
        refused = facets("ask", EXPERIMENT, *arguments)
        assert refused.code == 2
        assert refused.err == "facets: facets ask needs --facet to ask or --read to take answers, one of the two\n"

"""``facets hint``: what it takes, and what it says."""

import json

import pytest

from tests.cli.calling import Facets
from tests.repository import EXPERIMENT, Repository


def paths(inside: Repository, facets: Facets) -> list[str]:
    sql = "select path from images where batch_id = 'train' order by position"
    return [row["path"] for row in json.loads(facets("query", EXPERIMENT, sql, "--json").out)]


def test_hints_are_written_listed_and_taken_back(facets: Facets, inside: Repository) -> None:
    some = paths(inside, facets)
    told = facets("hint", EXPERIMENT, "--facet", "0", "--as", "dark", *some[:2])
    assert told.out == (
        "tiny: 2 hints written\n"
        "next    facets hint tiny --facet 0 --as OTHER IMAGE IMAGE: facet 0 needs a second label, beside 'dark'\n"
    )
    again = facets("hint", EXPERIMENT, "-j", "0", "--as", "light", *some[2:4], some[2])
    first, note, last = again.out.splitlines()
    assert (first, last) == ("tiny: 2 hints written, 1 known already", "next    facets rebuild tiny trains with them")
    assert note.startswith("note    facet 0 has ")
    assert facets("hint", EXPERIMENT, "--facet", "1", "--different", *some[:2]).code == 0
    (written,) = json.loads(facets("hint", EXPERIMENT, "--facet", "1", "--same", *some[2:4], "--json").out)["pairs"]
    assert written == [*some[2:4], "1", "true"]
    listed = facets("hint", EXPERIMENT, "--list").out
    assert listed.startswith("tiny: 6 hints about 4 images: ")
    assert "  facet 0    dark (2), light (2)\n" in listed
    assert "  facet 1    1 pair the same, 1 pair different" in listed
    assert json.loads(facets("hint", EXPERIMENT, "--list", "--json").out)["labels"] == {"0": {"dark": 2, "light": 2}}
    undone = facets("hint", EXPERIMENT, "--undo").out
    assert undone.startswith(f"tiny: 1 hint taken back\n  facet 1: {some[2]} and {some[3]} the same\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs one of --as, --same, --different, --from-labels, --list, --undo, got none"),
        (["--list", "--undo"], "got --list and --undo"),
        (["--as", "x", "--facet", "0"], "images are named with --as LABEL, and --as LABEL needs images"),
        (["a.png", "--list"], "images are named with --as LABEL"),
        (["a.png", "--as", "x"], "needs the facet that it is about, got none; add --facet to --as"),
        (["--facet", "9", "--same", "a", "b"], "must be about a facet, 0 … 1, got 9"),
    ],
)
def test_what_makes_no_sense_is_refused(
    facets: Facets, inside_template: Repository, arguments: list[str], message: str
) -> None:
    told = facets("hint", EXPERIMENT, *arguments)
    assert told.code == 2
    assert message in told.err
    assert told.err.count("\n") == 1


def test_images_of_the_test_split_are_told_apart(facets: Facets, inside: Repository) -> None:
    sql = "select image_id from images where batch_id = 'test' limit 2"
    ids = [row["image_id"] for row in json.loads(facets("query", EXPERIMENT, sql, "--json").out)]
    told = facets("hint", EXPERIMENT, "--facet", "0", "--same", *ids).out
    assert "2 images of the test split: no model trains with them, they tell how well hints were understood" in told


def test_a_pair_with_an_image_of_the_test_split_is_said_to_train_nothing(facets: Facets, inside: Repository) -> None:
    sql = "select path from images where batch_id = 'test' order by position"
    tested = [row["path"] for row in json.loads(facets("query", EXPERIMENT, sql, "--json").out)]
    told = facets("hint", EXPERIMENT, "--facet", "0", "--same", paths(inside, facets)[0], tested[0]).out
    assert "1 image of the test split" in told
    assert "so this pair trains nothing; take images of batch_id train" in told
    told = facets("hint", EXPERIMENT, "--facet", "0", "--same", *paths(inside, facets)[:2]).out
    assert "trains nothing" not in told

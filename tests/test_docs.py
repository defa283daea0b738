"""Everything that the documentation points at is there."""

import re
from pathlib import Path

import pytest

from pipeline.config import load_params
from tests.repository import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md"), *(PROJECT / "deploy").glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INSTALLED = {"README.md", "installing.md"}
"""Pages that begin with pip, whose environment is a person's own and activated."""
COMMAND = re.compile(r"(?:\.venv/bin/|`)facets ([a-z]+)")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Anchors as code forges make them: lower case, no punctuation, hyphens for spaces."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in HEADING.findall(prose(page))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_every_page_and_picture_of_the_docs_is_linked() -> None:
    linked = {(page.parent / target.split("#")[0]).resolve() for page in PAGES for target in LINK.findall(prose(page))}
    pictures = set((PROJECT / "docs" / "pictures").iterdir())
    assert {*(PROJECT / "docs").glob("*.md"), *pictures} - linked == set()


def test_every_command_that_is_named_exists() -> None:
    known = {path.stem for path in (PROJECT / "pipeline" / "cli").glob("[a-z]*.py")}
    named = {command for page in PAGES for command in COMMAND.findall(page.read_text(encoding="utf-8"))}
    assert {"new", "rebuild", "paper", "name"} <= named
    assert named - known == set()


def test_what_chose_the_settings_of_each_shipped_experiment_is_stated() -> None:
    text = (PROJECT / "benchmarks" / "recipes.md").read_text(encoding="utf-8")
    table = text.partition("## What chose the settings of each experiment")[2].partition("\n## ")[0]
    stated = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(stated) == sorted(load_params(PROJECT).experiments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_to_paste_name_the_environment_and_those_in_a_sentence_do_not(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    pasted = [line for line in lines if re.match(r" {4}(?!- )\S*facets [a-z]", line)]
    if page.name in INSTALLED:
        pasted = [line for line in pasted if not line.startswith("    facets ")]
    assert [line for line in pasted if not line.startswith("    .venv/bin/facets ")] == []
    assert [line for line in lines if re.search(r"`\S*bin/facets [a-z]", line)] == []


@pytest.mark.parametrize("folder", ["pipeline", "pipeline/datasets"])
def test_the_architecture_names_every_room(folder: str) -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| Room of `{folder}/` .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    named = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == {path.parent.name for path in (PROJECT / folder).glob("*/__init__.py")}


def test_every_picture_has_a_text_for_those_who_cannot_see_it() -> None:
    bare = [page.name for page in PAGES if "![](" in page.read_text(encoding="utf-8")]
    assert bare == []

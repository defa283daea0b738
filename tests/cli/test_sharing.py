"""``facets push`` and ``facets pull``, between a repository and a clone that git made of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import Facets
from tests.repository import EXPERIMENT, Repository


def test_a_clone_gets_what_git_does_not_carry(
    inside: Repository, facets: Facets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = facets("push", EXPERIMENT)
    assert (nowhere.code, nowhere.err.count("\n")) == (2, 1)
    pushed = facets("push", EXPERIMENT, "../share")
    assert pushed.code == 0
    assert pushed.out.startswith(f"tiny: version 1 shared at {tmp_path / 'share'}; ")
    assert "MB sent" in pushed.out
    assert json.loads(facets("push", EXPERIMENT, "--json").out)["sent"] == 0
    inside.commit("shared")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", inside.root, clone], check=True)
    (clone / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(clone)
    refused = facets("rebuild", EXPERIMENT)
    assert (refused.code, refused.err.count("\n")) == (5, 1)
    assert "as data/shared/tiny.json tells" in refused.err
    assert "facets pull tiny is due first" in refused.err
    pulled = facets("pull", EXPERIMENT)
    assert pulled.code == 0
    assert pulled.out.startswith("tiny: version 1 pulled from ")
    assert json.loads(facets("pull", EXPERIMENT, "--json").out)["is_new"] is False
    query = ("query", EXPERIMENT, "select cluster_uid, count(*) from facet_1 group by 1 order by 1", "--json")
    ours = facets(*query).out
    os.chdir(inside.root)
    assert facets(*query).out == ours
    assert facets("check", EXPERIMENT, "--deep").code == 0

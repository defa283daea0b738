"""``facets push`` and ``facets pull``, between a repository and a clone that git made of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import Facets
from tests.operations.test_ingest import save
from tests.operations.tiny import new_images
from tests.repository import EXPERIMENT, REBUILD, Repository
from tests.sharing.servers import s3_server


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
    checked = facets("check", EXPERIMENT, "--deep")
    line = "tiny: what stages make is not here; dvc pull, or facets rebuild tiny, brings it"
    assert (checked.code, checked.out.splitlines()[1:]) == (0, [line])
    query = ("query", EXPERIMENT, "select cluster_uid, count(*) from facet_1 group by 1 order by 1", "--json")
    ours = facets(*query).out
    os.chdir(inside.root)
    assert facets(*query).out == ours
    assert facets("check", EXPERIMENT, "--deep").code == 0


@pytest.mark.soak
def test_a_colleague_goes_on_by_git_dvc_and_a_bucket(repository: Repository, tmp_path: Path) -> None:
    with s3_server() as address:
        repository.run(".venv/bin/dvc", "remote", "add", "--default", "team", address)
        repository.run(".venv/bin/dvc", "push")
        repository.facets("push", EXPERIMENT, address)
        repository.commit("shared")
        subprocess.run(["git", "clone", "--quiet", repository.root, tmp_path / "clone"], check=True)
        clone = Repository(tmp_path / "clone")
        (clone.root / ".venv").symlink_to(sys.prefix)
        clone.run(".venv/bin/dvc", "pull")
        assert (clone.root / "artifacts" / EXPERIMENT / "model" / "model.json").exists()
        clone.facets("pull", EXPERIMENT)
        (rebuilt,) = json.loads(clone.facets(*REBUILD, "--json").stdout)
        assert (rebuilt["version"], rebuilt["is_new"]) == (1, False)
        assert {stage["action"] for stage in rebuilt["stages"]} == {"unchanged"}
        images = save(tmp_path / "new.npy", new_images(30))
        for each in (repository, clone):
            each.facets("ingest", EXPERIMENT, images)
            each.facets("retrain", EXPERIMENT, "--force")
        uids = ("query", EXPERIMENT, "select image_id, cluster_uid, group_uid from facet_1 order by 1", "--json")
        assert clone.facets(*uids).stdout == repository.facets(*uids).stdout
        clone.facets("push", EXPERIMENT)
        refused = repository.facets("push", EXPERIMENT, check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (5, 1)
        repository.facets("pull", EXPERIMENT, "--replace")
        assert repository.facets(*uids).stdout == clone.facets(*uids).stdout

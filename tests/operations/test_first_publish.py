"""A clone of a project that is published elsewhere mints no ids of its own unless asked to."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import PublishError
from pipeline.operations.first_publish import require_own_history
from pipeline.operations.publish import publish
from pipeline.tables import read
from tests.operations.tiny import Tiny
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.no_shapes  # the operations' own tests check shapes


def clone(tiny: Tiny, root: Path) -> Tiny:
    """Return what git carries of a project, with the stages run again."""
    shutil.copytree(tiny.root, root, ignore=shutil.ignore_patterns("published", "batches", ".work"))
    return Tiny(root)


def test_the_first_publish_leaves_a_record_for_git(tiny: Tiny, tmp_path: Path) -> None:
    served = tiny.history.served()
    record = json.loads(tiny.layout.history.read_text())
    assert (record["version"], record["model_version"]) == (served.version, served.model_version)
    before = tiny.layout.history.read_bytes()
    tiny.rebuild()
    assert tiny.layout.history.read_bytes() == before
    tiny.layout.history.unlink()  # published before there were records
    require_own_history(tiny.layout)
    publish(tiny.layout, tiny.params)
    assert json.loads(tiny.layout.history.read_text()) == record


@pytest.mark.parametrize("sign", ["shared", "history", "joined", "removed", "names"])
def test_a_clone_is_refused_before_anything_runs(tiny: Tiny, tmp_path: Path, sign: str) -> None:
    copy = clone(tiny, tmp_path / "clone")
    copy.layout.history.unlink()
    require_own_history(copy.layout)
    path = getattr(copy.layout, sign)
    path.parent.mkdir(exist_ok=True)
    text = {"names": "uid,name,note,minted_by\nf0-c000,zero,,m-0123456789ab\n", "history": "{}"}
    path.write_text(text.get(sign, '["b-0123456789ab"]'))
    pulled = "facets pull tiny is due" if sign == "shared" else "facets pull tiny ADDRESS"
    expected = rf"tiny was published elsewhere, as {path.relative_to(copy.root)} tells.*{pulled}.*--new-history"
    with pytest.raises(PublishError, match=expected):
        require_own_history(copy.layout)
    with pytest.raises(PublishError, match="was published elsewhere"):
        publish(copy.layout, copy.params)
    assert not copy.layout.published.exists()


def test_with_what_is_published_copied_too_the_ids_stay(tiny: Tiny, tmp_path: Path) -> None:
    copy = clone(tiny, tmp_path / "clone")
    shutil.copytree(tiny.layout.published, copy.layout.published)
    assert publish(copy.layout, copy.params) == (1, False)
    for facet in ("facet_0", "facet_1"):
        ours, theirs = (read(EXPERIMENT, facet, root=each.root, engine="arrow") for each in (copy, tiny))
        assert ours.equals(theirs)


def test_an_empty_project_has_no_history_elsewhere(tiny: Tiny, tmp_path: Path) -> None:
    copy = clone(tiny, tmp_path / "clone")
    copy.layout.history.unlink()
    copy.layout.names.parent.mkdir()
    copy.layout.names.write_text("uid,name,note,minted_by\n")
    require_own_history(copy.layout)

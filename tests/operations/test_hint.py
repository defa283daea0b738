"""Hints that commands write: into files for people, once, not against each other, and taken back."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.core.errors import BusyError, ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.hints import read_prepared_hints
from pipeline.operations import hint, hint_names
from pipeline.operations.check import check_experiments
from pipeline.operations.drop import plan_drop
from pipeline.operations.fingerprint import fingerprint
from pipeline.operations.hint_draw import draw_labelled
from pipeline.operations.hint_list import list_hints
from pipeline.operations.locks import publish_lock
from pipeline.operations.name import name_cluster
from pipeline.operations.scan import scan_source
from pipeline.operations.tracked import require_lists, tracked_faults
from pipeline.tables import read
from stages import preprocess
from tests.operations.tiny import EXPERIMENT, Tiny

pytestmark = pytest.mark.no_shapes  # the tests of the parts check them


def prepared(tiny: Tiny) -> list[tuple[str, str]]:
    """Return path and id of the images of the training split."""
    images = read(EXPERIMENT, "images", root=tiny.root)
    images = images[images["batch_id"] == "train"].sort_values("position")
    return list(zip(images["path"], images["image_id"], strict=True))


def add(tiny: Tiny, facet: int, label: str, *images: str) -> hint.HintResult:
    return hint.add_labels(tiny.layout, tiny.params, facet, [(image, label) for image in images])


def pair(tiny: Tiny, facet: int, a: str, b: str, *, is_same: bool) -> hint.HintResult:
    return hint.add_pair(tiny.layout, tiny.params, facet, (a, b), is_same=is_same)


def test_what_is_said_next_is_a_command_that_can_be_typed(tiny: Tiny) -> None:
    (path, _), *_ = prepared(tiny)
    assert add(tiny, 0, "an odd one", path).lacks == (
        "facets hint tiny --facet 0 --as 'an odd one' IMAGE: a label needs two images at least"
    )


def test_a_label_of_which_less_than_two_images_train_is_told(tiny: Tiny) -> None:
    images = read(EXPERIMENT, "images", root=tiny.root)
    tested = images.loc[images["batch_id"] == "test", "path"].tolist()
    trained = [path for path, _ in prepared(tiny)]
    add(tiny, 1, "round", *trained[:2])
    for more, n_train in [(tested[:2], "none"), (trained[2:3], "one")]:
        told = add(tiny, 1, "square", *more)
        assert (told.lacks, told.advice) == (
            "",
            "what makes images of 'square' the same can't be learned: two of them must be of the training split, but "
            f"{n_train} is; take more images of batch_id train (docs/hints.md)",
        )
    assert "can't be learned" not in add(tiny, 1, "square", trained[3]).advice


def test_lines_are_added_for_people_to_read(tiny: Tiny) -> None:
    (path_0, id_0), (path_1, _), (path_2, _), (path_3, _), *_ = prepared(tiny)
    first = add(tiny, 1, "round", id_0, path_1)
    assert first.labels == ((path_0, "1", "round"), (path_1, "1", "round"))
    assert first.lacks == (
        "facets hint tiny --facet 1 --as OTHER IMAGE IMAGE: facet 1 needs a second label, beside 'round'"
    )
    second = add(tiny, 1, "=square", path_2, path_3)
    assert second.lacks == ""
    pair(tiny, 0, path_0, path_2, is_same=False)
    assert tiny.layout.hints.read_text() == (
        f"image,facet,label\n{path_0},1,round\n{path_1},1,round\n{path_2},1,'=square\n{path_3},1,'=square\n"
    )
    assert tiny.layout.hint_pairs.read_text() == f"image_a,image_b,facet,same\n{path_0},{path_2},0,false\n"


def test_more_or_fewer_clusters_than_labels_are_noticed(tiny: Tiny) -> None:
    (path_0, _), (path_1, _), (path_2, _), *others = prepared(tiny)
    n_clusters = tiny.params.model.n_components[1]
    assert n_clusters > 2
    assert add(tiny, 1, "a", path_0, path_1).advice == ""  # one label is no division yet
    assert f"facet 1 has {n_clusters} clusters for 2 labels, and may divide them" in add(tiny, 1, "b", path_2).advice
    advice = [add(tiny, 1, f"label {n}", path).advice for n, (path, _) in enumerate(others[: n_clusters - 1])]
    assert advice[n_clusters - 3] == ""
    assert f"facet 1 has {n_clusters} clusters for {n_clusters + 1} labels, so images of some" in advice[-1]


def test_a_file_of_a_persons_own_keeps_its_columns(tiny: Tiny) -> None:
    (path_0, _), (path_1, _), *_ = prepared(tiny)
    tiny.layout.hints.write_bytes(f"Who;Label;Facet;Image\nAda;x;0;{path_0}\n".encode("utf-16"))
    add(tiny, 0, "x", path_1)
    assert tiny.layout.hints.read_text() == f"Who,Label,Facet,Image\nAda,x,0,{path_0}\n,x,0,{path_1}\n"


def test_what_is_known_is_not_written_again_and_what_contradicts_it_not_at_all(tiny: Tiny) -> None:
    (path_0, id_0), (path_1, _), (path_2, _), *_ = prepared(tiny)
    add(tiny, 0, "x", path_0, path_1)
    again = add(tiny, 0, "x", id_0, path_1, path_2, path_2)
    assert (again.labels, again.n_known) == (((path_2, "0", "x"),), 3)
    before = tiny.layout.hints.read_bytes()
    with pytest.raises(
        ConfigError, match=r"must go with those before, so nothing is written: .* has 'x' in line 2 and"
    ):
        add(tiny, 0, "y", path_0)
    with pytest.raises(ConfigError, match=r"so nothing is written: .* parts images that labels or other lines make"):
        pair(tiny, 0, path_1, path_0, is_same=False)
    assert pair(tiny, 0, path_1, path_0, is_same=True).pairs
    assert pair(tiny, 0, path_0, path_1, is_same=True).n_known == 1
    assert tiny.layout.hints.read_bytes() == before


@pytest.mark.parametrize(
    ("facet", "label", "image", "message"),
    [
        (2, "x", "", r"hints must be about a facet, 0 … 1, got 2; correct it"),
        (-1, "x", "", r"hints must be about a facet, 0 … 1, got -1"),
        (
            0,
            "x",
            "nobody.png",
            r"a hint must name an image that is prepared, .* got 'nobody\.png'; correct it, or look",
        ),
        (0, "", "", r"a label must be one line of text without spaces around it, got ''"),
        (0, "a\nb", "", r"a label must be one line of text"),
    ],
)
def test_what_cannot_be_a_hint_is_refused(tiny: Tiny, facet: int, label: str, image: str, message: str) -> None:
    before = tiny.layout.hints.read_bytes()
    with pytest.raises((ConfigError, DataError), match=message):
        add(tiny, facet, label, image or prepared(tiny)[0][0])
    assert tiny.layout.hints.read_bytes() == before


def test_images_must_be_prepared_first(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(
        DataError, match=r"must be prepared before they are pointed at, .* run facets rebuild tiny first"
    ):
        hint.add_labels(Layout(tmp_path, EXPERIMENT), tiny.params, 0, [("a.png", "x")])


def test_the_last_command_is_taken_back_and_then_the_one_before(tiny: Tiny) -> None:
    paths = [path for path, _ in prepared(tiny)]
    start = tiny.layout.hints.read_bytes()
    add(tiny, 0, "x", *paths[:2])
    first = tiny.layout.hints.read_bytes()
    add(tiny, 0, "x", paths[1])  # known: nothing to take back
    add(tiny, 0, "y", *paths[2:4])
    pair(tiny, 1, paths[0], paths[1], is_same=True)
    text = tiny.layout.hints.read_text()
    assert hint.undo_hints(tiny.layout).pairs == ((paths[0], paths[1], "1", "true"),)
    tiny.layout.hints.write_text(text.replace(f"{paths[2]},0,y\n", ""))  # somebody took that line out
    undone = hint.undo_hints(tiny.layout)
    assert undone.labels == ((paths[3], "0", "y"),)
    assert tiny.layout.hints.read_bytes() == first
    assert len(hint.undo_hints(tiny.layout).labels) == 2
    assert tiny.layout.hints.read_bytes() == start
    with pytest.raises(
        ConfigError, match=r"must be of a facets hint that ran here, got none for tiny; edit hints/tiny"
    ):
        hint.undo_hints(tiny.layout)


def test_two_who_write_at_once_wait_for_each_other(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hint, "publish_lock", lambda layout, purpose: publish_lock(layout, purpose, 0.0))
    with publish_lock(tiny.layout, "test"), pytest.raises(BusyError, match=r"one process at a time may change"):
        add(tiny, 0, "x", prepared(tiny)[0][0])


def test_some_labels_of_a_column_become_hints(tiny: Tiny) -> None:
    drawn = draw_labelled(tiny.layout, "shape", 5)
    assert len(drawn) == 15
    assert draw_labelled(tiny.layout, "shape", 5) == drawn
    assert set(drawn) < set(draw_labelled(tiny.layout, "shape", 8))
    ids = [image_id for _, image_id in prepared(tiny)]
    positions = {image_id: position for position, image_id in enumerate(ids)}
    assert {image_id for image_id, _ in drawn} <= positions.keys()
    with np.load(tiny.root / "data" / "own" / "images.npz") as arrays:
        shape = arrays["shape"]
    images = read(EXPERIMENT, "images", root=tiny.root).set_index("image_id")
    for image_id, label in drawn:
        assert str(shape[images.loc[image_id, "position"]]) == label
    result = hint.add_labels(tiny.layout, tiny.params, 1, drawn)
    assert (len(result.labels), result.lacks) == (15, "")
    assert hint.add_labels(tiny.layout, tiny.params, 1, drawn).n_known == 15
    with pytest.raises(ConfigError, match=r"must come from a factor of tiny, .*shade.*, got 'colour'"):
        draw_labelled(tiny.layout, "colour", 5)


def test_stage_preprocess_takes_them_over(tiny: Tiny) -> None:
    hint.add_labels(tiny.layout, tiny.params, 1, draw_labelled(tiny.layout, "shape", 6))
    preprocess.run(tiny.layout, tiny.params)
    hints = read_prepared_hints(tiny.layout.prepared)
    assert len(hints.labels) == len(hints.rows) == 18
    assert 0 < hints.is_aside.sum() < 12


def test_a_rebuild_refuses_them_before_anything_starts(tiny: Tiny) -> None:
    layout, model = tiny.layout, tiny.params.model
    hint.require_usable_hints(layout, model)
    layout.hints.write_text("image,facet,label\na,0,x\na,5,x\n")
    with pytest.raises(ConfigError, match=r"hints/tiny\.csv, line 3: hints must be about a facet, 0 … 1, got 5"):
        hint.require_usable_hints(layout, model)
    layout.hints.write_text("image,facet,label\na,0,x\nb,0,x\n")
    with pytest.raises(DataError, match=r"hints/tiny\.csv must have at least two labels in a facet"):
        hint.require_usable_hints(layout, model)
    layout.hints.write_text("image,facet,label\n")
    layout.hint_pairs.write_text("image_a,image_b,facet,same\na,b,0,true\n")
    hint.require_usable_hints(layout, model)
    object.__setattr__(model, "n_components", (1, 3))
    with pytest.raises(ConfigError, match=r"tiny_pairs\.csv, line 2: a facet with hints must have at least two comp"):
        hint.require_usable_hints(layout, model)


def test_a_scan_starts_both_files_and_never_takes_lost_hints_for_none(tiny: Tiny) -> None:
    layout = tiny.layout
    for path in (layout.hints, layout.hint_pairs):
        path.unlink()
    scan_source(layout, tiny.params.preprocess)
    assert layout.hints.read_text() == "image,facet,label\n"
    assert layout.hint_pairs.read_text() == "image_a,image_b,facet,same\n"
    add(tiny, 0, "x", *(path for path, _ in prepared(tiny)[:2]))
    layout.hints.unlink()
    with pytest.raises(DataError, match=r"hints/tiny\.csv is missing; run facets check tiny --repair"):
        require_lists(layout)
    found = check_experiments(tiny.root, [EXPERIMENT], mend=True)[EXPERIMENT]
    assert (found.problems, found.mended) == ((), (f"{layout.hints} is missing",))
    assert layout.hints.read_text().count(",0,x\n") == 2


def test_hints_that_somebody_edits_are_no_damage(tiny: Tiny) -> None:
    layout = tiny.layout
    add(tiny, 0, "x", *(path for path, _ in prepared(tiny)[:2]))
    layout.hints.write_bytes("image;facet;label\na;0;ä\n".encode("utf-16"))
    assert tracked_faults(layout) == {}
    scan_source(layout, tiny.params.preprocess)
    assert check_experiments(tiny.root, [EXPERIMENT], deep=True)[EXPERIMENT].problems == ()
    layout.hints.write_text("image;facet\n")
    assert list(tracked_faults(layout)) == [layout.hints]


def test_changed_hints_are_something_to_rebuild_for(tiny: Tiny) -> None:
    before = fingerprint(tiny.layout)
    pair(tiny, 0, *(path for path, _ in prepared(tiny)[:2]), is_same=True)
    assert fingerprint(tiny.layout) != before


def test_a_drop_tells_and_takes_them(tiny: Tiny) -> None:
    path = tiny.root / "params.yaml"
    sections = yaml.safe_load(path.read_text())["experiments"][EXPERIMENT]
    two = {"active": [EXPERIMENT, "other"], "experiments": {EXPERIMENT: sections, "other": deepcopy(sections)}}
    path.write_text(yaml.safe_dump(two, sort_keys=False))
    parts = {part.path: part.holds for part in plan_drop(tiny.root, EXPERIMENT).parts}
    assert parts["hints/tiny.csv"] == "hints about images"
    assert parts["hints/tiny_pairs.csv"] == "hints about pairs of images"


def read_without_groups(*arguments: Any, **more: Any) -> pd.DataFrame:
    return read(*arguments, **more).assign(group_uid=None)


def test_the_list_tells_counts_faults_and_names(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = tiny.layout
    assert list_hints(layout).text == "tiny: no hints"
    rows = read(EXPERIMENT, "facet_0", root=tiny.root)
    rows = rows[rows["batch_id"] == "train"]
    uid = rows["cluster_uid"].value_counts().index[0]
    shared, others = (rows[(rows["cluster_uid"] == uid) == inside]["image_id"].tolist() for inside in (True, False))
    add(tiny, 0, "bars", *shared[:4])
    assert "at least two labels" in list_hints(layout).text
    add(tiny, 0, "spots", others[0], shared[4])
    pair(tiny, 1, *shared[:2], is_same=True)
    assert {proposal.name for proposal in list_hints(layout).proposals if proposal.uid.startswith("f0-g")} <= {"bars"}
    monkeypatch.setattr(hint_names, "read", read_without_groups)
    found = list_hints(layout)
    assert found.labels == {0: {"bars": 4, "spots": 2}}
    assert (found.same, found.different, found.fault) == ({1: 1}, {}, "")
    assert "facet 1    1 pair the same" in found.text
    assert "facet 0    bars (4), spots (2)" in found.text
    assert found.proposals == (hint_names.Proposal(uid, "bars", 4, 4),)
    assert f"{uid} holds 4 of 4 images labelled bars: facets name tiny {uid} bars" in found.text
    name_cluster(layout, uid, "upright")
    assert list_hints(layout).proposals == ()


def test_removed_images_are_left_out_of_the_list(tiny: Tiny) -> None:
    layout, images = tiny.layout, prepared(tiny)
    add(tiny, 0, "x", *(path for path, _ in images[:3]))
    add(tiny, 0, "y", *(path for path, _ in images[3:6]))
    write_json(layout.removed, [images[0][1]])
    preprocess.run(layout, tiny.params)
    assert "1 left out, as the image is not among those that are prepared" in list_hints(layout).account
    assert len(read_prepared_hints(layout.prepared).rows) == 5
    assert read_json(layout.removed) == [images[0][1]]

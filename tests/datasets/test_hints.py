"""Hints: read, checked line by line, brought to rows of the stores, a third of them kept aside."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.core.image_ids import short_ids
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.hint_files import read_hint_files
from pipeline.datasets.prepare.hints import HintAccount, resolve_hints
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.store.hints import PreparedHints, no_hints, read_prepared_hints, write_prepared_hints
from tests.datasets.fake_source import Prepare, contents, ids_of, make_block, make_images

N_TRAIN, N_TEST = 30, 10
PATHS = [*(f"{'ab'[n % 2]}/{n}.png" for n in range(N_TRAIN)), *(f"c/{n}.png" for n in range(N_TEST))]
IDS = ids_of(make_images(N_TRAIN + N_TEST))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An experiment with thirty training and ten test images."""
    layout = Layout(tmp_path, "birds")
    write_images(layout, PATHS, IDS, N_TRAIN)
    layout.hints.parent.mkdir()
    return layout


def write_images(layout: Layout, paths: list[str], ids: list[str], n_train: int) -> None:
    layout.prepared.mkdir(parents=True)
    batches = np.where(np.arange(len(paths)) < n_train, "train", "test")
    sizes, positions = np.full((len(paths), 2), 4, np.int32), np.arange(len(paths))
    write_images_table(layout.prepared / "images.parquet", np.array(ids), batches, positions, pa.array(paths), sizes)


def resolve(
    layout: Layout,
    labels: str = "",
    pairs: str = "",
    why_gone: Callable[[str], str | None] = lambda _: None,
) -> tuple[PreparedHints, HintAccount]:
    """Write both files, below their first lines, and resolve them."""
    layout.hints.write_text(f"image,facet,label\n{labels}")
    layout.hint_pairs.write_text(f"image_a,image_b,facet,same\n{pairs}")
    return resolve_hints(read_hint_files(layout), layout.prepared, why_gone)


def label_lines(n_each: int, labels: str = "xy", facet: int = 0, first: int = 0) -> str:
    """Label training images in order, some of each label."""
    places = range(first, first + n_each * len(labels))
    return "".join(f"{PATHS[place]},{facet},{labels[n // n_each]}\n" for n, place in enumerate(places))


def said(hints: PreparedHints) -> set[tuple[int, int, int]]:
    """Return row, facet and label number of every label."""
    return {(int(hints.rows[image]), facet, label) for image, facet, label in hints.labels.tolist()}


def test_labels_and_pairs_become_rows_whatever_images_are_called(layout: Layout) -> None:
    (short,) = short_ids([IDS[3]])
    labels = f"{PATHS[0]},0,x\n{IDS[1]},0,x\n./b/5.png,0,y\n{short},0,y\n{PATHS[0]},1,up\n/data/birds/a/2.png,1,up\n"
    labels += f"b\\7.png,1,down\n{PATHS[9]},1,down\n"
    hints, account = resolve(layout, labels, f"{PATHS[20]},21.png,1,true\n{PATHS[20]},{IDS[22]},1,FALSE\n")
    assert said(hints) == {(0, 0, 0), (1, 0, 0), (3, 0, 1), (5, 0, 1), (0, 1, 0), (2, 1, 0), (7, 1, 1), (9, 1, 1)}
    pairs = {(int(hints.rows[a]), int(hints.rows[b]), facet, same) for a, b, facet, same in hints.pairs.tolist()}
    assert pairs == {(20, 21, 1, 1), (20, 22, 1, 0)}
    assert hints.rows.tolist() == [0, 1, 2, 3, 5, 7, 9, 20, 21, 22]
    assert not hints.is_test.any()
    assert (account.n_hints, account.n_images, account.repeated, account.left_out) == (10, 10, 0, {})
    assert hints.n_facets == 2
    assert hints.rows[hints.hinted(1)].tolist() == [0, 2, 7, 9, 20, 21, 22]


@pytest.mark.parametrize(
    ("labels", "pairs", "message"),
    [
        (
            label_lines(2) + "d/9.png,0,x\n",
            "",
            r"birds\.csv, line 6, must name an image that is prepared, .* 'd/9\.png'",
        ),
        (label_lines(2) + "i-1.png,0,x\n", "", r"line 6, must name an image that is prepared, .* got 'i-1\.png'; cor"),
        ("", "a/0.png,d/9.png,0,true\n", r"birds_pairs\.csv, line 2, must name an image that is prepared"),
        ("a/0.png,one,x\n", "", r"birds\.csv must have the number of a facet in every line, got 'one' in line 2"),
        ("a/0.png,-1,x\n", "", r"the number of a facet in every line, got '-1' in line 2; correct it"),
        (",0,x\n", "", r"must name an image in every line with an answer, got none in line 2; give a file below"),
        ("", "a/0.png,b/1.png,0,maybe\n", r"must say true or false in column same, got 'maybe' in line 2"),
        ("a/0.png,0,x\n", "", r"every label to at least two images .* but 'x' of facet 0 has the one of line 2 alone"),
        ("a/0.png,0,x\nb/1.png,0,x\n", "", r"at least two labels in a facet, but facet 0 has 'x' alone \(line 2\)"),
        (
            "a/0.png,0,x\nb/1.png,0,x\na/2.png,0,y\na/0.png,0,y\n",
            "",
            r"one label in a facet, but 'a/0\.png' has 'x' in line 2 and 'y' in line 5, both of facet 0; take one of",
        ),
        (
            f"a/0.png,0,x\nb/1.png,0,x\na/2.png,0,y\n{IDS[0]},0,y\n",
            "",
            rf"but '{IDS[0]}' has 'x' in line 2 and 'y' in line 5",
        ),
        (
            "",
            "a/0.png,b/1.png,0,true\na/2.png,b/1.png,0,true\nb/1.png,a/0.png,0,false\n",
            r"must not contradict itself, but lines 2 and 4 say of 'b/1\.png' and 'a/0\.png' that they are the",
        ),
        ("", "a/0.png,a/0.png,0,true\n", r"must have two images in every line, got 'a/0\.png' twice in line 2"),
        ("", f"a/0.png,{IDS[0]},0,true\n", r"must have two images in every line, got 'a/0\.png' twice in line 2"),
        (
            label_lines(2),
            "a/0.png,b/1.png,0,false\n",
            r"must not contradict what else is said .* line 2 parts images that labels or other lines make the same in",
        ),
        (
            label_lines(2),
            "a/0.png,a/2.png,0,true\n",
            r"but line 2 joins images labelled 'x' and 'y' in facet 0; ta",
        ),
        (
            label_lines(2),
            "a/0.png,a/10.png,0,true\na/10.png,b/11.png,0,true\nb/11.png,b/3.png,0,true\n",
            r"but line 4 joins images labelled 'x' and 'y' in facet 0",
        ),
        (
            "",
            "a/0.png,a/2.png,1,true\na/2.png,a/4.png,1,true\na/0.png,a/4.png,1,false\n",
            r"line 4 parts images that labels or other lines make the same in facet 1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_rule_and_remedy(
    layout: Layout, labels: str, pairs: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        resolve(layout, labels, pairs)


def test_a_path_that_two_images_have_is_refused_and_their_ids_are_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "birds")
    write_images(layout, ["a/0.png", "a/0.png", "b/0.png", "c.png"], IDS[:4], 3)
    layout.hints.parent.mkdir()
    with pytest.raises(DataError, match=r"line 2, must name one image, got 'a/0\.png', which 2 images go by; give"):
        resolve(layout, pairs="a/0.png,b/0.png,0,true\n")
    hints, _ = resolve(layout, pairs=f"{IDS[0]},{IDS[1]},0,true\n")
    assert hints.rows.tolist() == [0, 1]


def test_a_label_means_nothing_outside_its_facet(layout: Layout) -> None:
    hints, _ = resolve(layout, label_lines(2) + label_lines(2, "yx", facet=1))
    assert said(hints) == {(n, facet, n // 2) for n in range(4) for facet in (0, 1)}


def test_what_is_said_twice_is_counted_and_does_no_harm(layout: Layout) -> None:
    pairs = "a/10.png,b/11.png,0,true\n"
    once, _ = resolve(layout, label_lines(2), pairs)
    again, account = resolve(
        layout, label_lines(2) + f"{IDS[0]},0,x\n" + label_lines(2), pairs + "b/11.png,a/10.png,0,yes\n"
    )
    assert account.repeated == 6
    assert "6 given twice" in account.text
    assert_same(once, again)


def assert_same(one: PreparedHints, other: PreparedHints) -> None:
    for name in ("rows", "is_test", "is_aside", "labels", "pairs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_neither_the_order_of_lines_nor_the_names_of_labels_count(layout: Layout) -> None:
    lines = label_lines(5, "xyz").splitlines(keepends=True)
    pairs = ["a/20.png,b/21.png,0,true\n", "b/23.png,a/22.png,1,false\n"]
    one, _ = resolve(layout, "".join(lines), "".join(pairs))
    renamed = "".join(lines[::-1]).replace(",z", ",a")
    other, _ = resolve(layout, renamed, "a/22.png,b/23.png,1,0\n" + pairs[0])
    assert_same(one, other)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image;facet;label\n{0};0;ä\n{1};0;ä\n{2};0;b\n{3};0;b\n", "utf-16"),
        ("image\tfacet\tlabel\n{0}\t0.0\tä\n{1}\t0\tä\n{2}\t0\tb\n{3}\t0\tb\n", "utf-8-sig"),
        ("Note,Label,Image,Facet\n,ä,{0},0\nx,ä,{1},0\n,b,{2},0\n,b,{3},0\n,,{4},0\n,,,\n", "utf-8"),
        ("sep=;\r\nimage;facet;label\r\n{0};0;ä\r\n{1};0;ä\r\n{2};0;b\r\n{3};0;b\r\n", "utf-8"),
    ],
    ids=["utf-16", "tabs", "more columns, lines without an answer", "spreadsheet"],
)
def test_tables_are_read_as_programs_write_them(layout: Layout, text: str, encoding: str) -> None:
    layout.hints.write_bytes(text.format(*PATHS[:5]).encode(encoding))
    hints, _ = resolve_hints(read_hint_files(layout), layout.prepared, lambda _: None)
    assert said(hints) == {(n, 0, n // 2) for n in range(4)}


def test_files_that_are_no_tables_of_hints_are_refused(layout: Layout) -> None:
    layout.hints.write_text("image,label\n")
    with pytest.raises(DataError, match=r"birds\.csv must have the columns image, facet, label, got no facet; add"):
        read_hint_files(layout)
    layout.hints.write_text("image,facet,label\na/0.png,0\n")
    with pytest.raises(DataError, match=r"birds\.csv must have 3 cells in every line, got 2 in line 2; mend it"):
        read_hint_files(layout)


def test_no_files_are_no_hints(layout: Layout) -> None:
    hints, account = resolve_hints(read_hint_files(layout), layout.prepared, lambda _: None)
    assert_same(hints, no_hints())
    assert account.n_hints == 0


def test_hints_about_images_that_are_gone_are_left_out_and_counted(layout: Layout) -> None:
    gone = {"gone.png": "was removed from the experiment", "bad.png": "was set aside"}
    labels = "a/0.png,0,x\ngone.png,0,x\nbad.png,0,y\na/2.png,0,y\n"
    hints, account = resolve(layout, labels, "gone.png,bad.png,0,true\n", gone.get)
    assert said(hints) == {(0, 0, 0), (2, 0, 1)}
    assert not hints.is_aside.any()
    assert account.left_out == {"was removed from the experiment": 2, "was set aside": 1}
    told = "2 left out, as the image was removed from the experiment; 1 left out, as the image was set aside"
    assert account.text.endswith(told)


def test_images_of_the_test_split_only_serve_to_judge_by(layout: Layout) -> None:
    hints, account = resolve(layout, f"a/0.png,0,x\n{IDS[N_TRAIN]},0,x\na/2.png,0,y\nc/3.png,0,y\n")
    assert hints.rows.tolist() == [0, 2, 0, 3]
    assert hints.is_test.tolist() == hints.is_aside.tolist() == [False, False, True, True]
    assert (account.n_aside, account.n_test) == (0, 2)
    assert "4 hints about 4 images: 2 to train with, 0 kept aside; 2 of the test split" in account.text


def many(tmp_path: Path, n_images: int, n_labels: int) -> tuple[Layout, list[str]]:
    layout = Layout(tmp_path, "many")
    ids = ids_of(make_images(n_images))
    write_images(layout, [f"{n}.png" for n in range(n_images)], ids, n_images)
    layout.hints.parent.mkdir()
    return layout, [f"{n}.png,0,label {n % n_labels}\n" for n in range(n_images)]


def test_a_third_is_kept_aside_and_hints_that_are_added_move_none(tmp_path: Path) -> None:
    layout, lines = many(tmp_path, 900, 9)
    all_of_them, _ = resolve(layout, "".join(lines))
    assert 0.28 < all_of_them.is_aside.mean() < 0.38  # a binomial's standard deviation is 0.016
    some, _ = resolve(layout, "".join(lines[:450]))
    np.testing.assert_array_equal(some.is_aside, all_of_them.is_aside[:450])


@pytest.mark.parametrize("n_each", [2, 3, 4])
def test_of_every_label_two_images_stay_for_training(tmp_path: Path, n_each: int) -> None:
    layout, lines = many(tmp_path, 50 * n_each, 50)
    hints, _ = resolve(layout, "".join(lines))
    trained = Counter(label for image, _, label in hints.labels.tolist() if not hints.is_aside[image])
    assert len(trained) == 50
    assert min(trained.values()) >= 2
    assert hints.is_aside.any() == (n_each > 2)


def test_two_images_that_one_pair_alone_speaks_of_stay_together(tmp_path: Path) -> None:
    layout, _ = many(tmp_path, 600, 2)
    pairs = "".join(f"{n}.png,{n + 1}.png,0,{'true' if n % 4 else 'false'}\n" for n in range(0, 600, 2))
    hints, _ = resolve(layout, pairs=pairs)
    a, b = hints.is_aside[hints.pairs[:, 0]], hints.is_aside[hints.pairs[:, 1]]
    np.testing.assert_array_equal(a, b)
    assert 0.25 < a.mean() < 0.42  # a standard deviation is 0.027


def test_a_facet_with_pairs_alone_keeps_one_for_training(tmp_path: Path) -> None:
    layout, _ = many(tmp_path, 60, 2)
    for n in range(0, 60, 2):
        hints, _ = resolve(layout, pairs=f"{n}.png,{n + 1}.png,3,true\n")
        assert not hints.is_aside.any()


def test_ten_thousand_hints_take_a_moment(tmp_path: Path) -> None:
    layout, lines = many(tmp_path, 10_000, 20)
    pairs = "".join(f"{n}.png,{n + 20}.png,0,true\n" for n in range(0, 9000))
    start = time.process_time()
    hints, account = resolve(layout, "".join(lines), pairs)
    assert time.process_time() - start < 5
    assert (len(hints.labels), len(hints.pairs), account.n_hints) == (10_000, 9000, 19_000)


def test_what_is_prepared_is_read_back(tmp_path: Path, layout: Layout) -> None:
    hints, _ = resolve(layout, label_lines(3) + "c/1.png,0,x\n", "a/20.png,b/21.png,1,false\n")
    write_prepared_hints(tmp_path, hints)
    assert_same(read_prepared_hints(tmp_path), hints)
    write_prepared_hints(tmp_path, no_hints())
    assert_same(read_prepared_hints(tmp_path), no_hints())


@pytest.mark.parametrize(
    "content",
    [{"schema": 99}, {"schema": 1}, [], {"schema": 1, "images": {"row": [1]}, "labels": [[5], [0], [0]], "pairs": []}],
)
def test_damage_is_told(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "hints.json", content)
    with pytest.raises(DataError, match=r"hints\.json must .*; run stage preprocess again"):
        read_prepared_hints(tmp_path)


def test_a_folder_of_an_earlier_release_has_no_hints(tmp_path: Path) -> None:
    assert_same(read_prepared_hints(tmp_path), no_hints())


def test_what_is_said_of_some_images_alone(layout: Layout) -> None:
    hints, _ = resolve(layout, label_lines(2), "a/0.png,b/11.png,0,true\n")
    some = hints.among(hints.rows != 1)
    assert some.rows.tolist() == [0, 2, 3, 11]
    assert said(some) == {(0, 0, 0), (2, 0, 1), (3, 0, 1)}
    assert some.pairs.tolist() == [[0, 3, 0, 1]]
    assert hints.among(hints.rows != 0).pairs.tolist() == []


def test_stage_preprocess_writes_them_and_leaves_out_what_was_removed(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, layout = make_images(20), Layout(tmp_path, "fake")
    before = contents(prepare(make_block(images, rejected=[("bad.png", "is empty")])))
    assert_same(read_prepared_hints(layout.prepared), no_hints())
    table = pq.read_table(layout.prepared / "images.parquet").to_pylist()
    paths = [row["path"] for row in table if row["batch_id"] == "train"]
    layout.hints.parent.mkdir()
    layout.hints.write_text(
        "image,facet,label\n" + "".join(f"{path},0,{n % 2}\n" for n, path in enumerate([*paths[:6], "bad.png"]))
    )
    after = contents(prepare(make_block(images, rejected=[("bad.png", "is empty")])))
    assert {name for name in after if after[name] != before[name]} == {"hints.json"}
    assert read_prepared_hints(layout.prepared).rows.tolist() == list(range(6))
    gone = next(row["image_id"] for row in table if row["path"] == paths[0])
    write_json(layout.removed, [gone])
    prepare(make_block(images, rejected=[("bad.png", "is empty")]))
    assert len(read_prepared_hints(layout.prepared).rows) == 5
    layout.hints.write_text(layout.hints.read_text().replace(paths[1], "other.png"))
    with pytest.raises(DataError, match=r"hints/fake\.csv, line 3, must name an image that is prepared"):
        prepare(make_block(images))

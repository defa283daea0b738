"""Images that a person is asked about, on a trained experiment."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.asking import choose_images, nearness, weigh_images
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.store.images import ImageStore
from pipeline.model import load_model
from pipeline.operations.ask import add_answers, ask
from pipeline.operations.remove import remove
from pipeline.tables import read
from pipeline.training.images import load_training_images
from tests.operations.tiny import Tiny
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.no_shapes  # the tests of what is called check them


def fill_in(form: Path, label: str = "x") -> None:
    """Do what a person does."""
    with form.open(newline="") as file:
        header, *rows = csv.reader(file)
    with form.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([*row[:2], label] for row in rows)])


def hints_of(tiny: Tiny) -> list[list[str]]:
    with tiny.layout.hints.open(newline="") as file:
        return list(csv.reader(file))


def test_the_images_are_those_that_the_latents_and_the_seeds_ask_for(tiny: Tiny) -> None:
    """Written out once more: all seeds, all facets' latents, rows that training sees."""
    found = ask(tiny.layout, tiny.params, 1, 5)
    model = read_model_file(tiny.layout.artifact("model"))
    healthy = [one["seed"] for one in model["seeds"] if one["healthy"]]
    assert sorted(found.seeds) == sorted(healthy)
    assert found.seeds[0] == model["selected_seed"]
    prepared = tiny.layout.prepared / "train.h5"
    rows = load_training_images(prepared, tiny.params.train.validation_fraction, torch.device("cpu")).train_rows
    latents, resp = [], []
    with ImageStore(prepared) as store:
        images = torch.from_numpy(store.take(rows))
    for seed in found.seeds:
        one = load_model(tiny.layout.artifact("model"), seed)
        latents.append(np.concatenate([qz.mean.numpy() for qz in one.encode(images)], axis=1))
        resp.append(one.log_resp(1, one.encode(images)[1]).exp().numpy())
    chosen = choose_images(nearness(latents, 5), weigh_images(resp, 0), np.array([], np.int64), 5)
    with ImageStore(prepared) as store:
        ids = store.image_ids()[rows[chosen]]
    images_table = read(EXPERIMENT, "images", root=tiny.root)
    paths = dict(zip(images_table["image_id"], images_table["path"], strict=True))
    assert list(found.images) == [paths[image_id] for image_id in ids.tolist()]


def test_answers_become_hints_and_their_images_are_not_asked_about_again(tiny: Tiny) -> None:
    first = ask(tiny.layout, tiny.params, 0, 4)
    assert first.form == tiny.root / "ask" / "tiny" / "facet_0.csv"
    assert first.sheet.exists()
    fill_in(first.form)
    assert add_answers(tiny.layout, tiny.params, first.form) == 4
    assert add_answers(tiny.layout, tiny.params, first.form) == 0
    assert hints_of(tiny) == [["image", "facet", "label"], *([image, "0", "x"] for image in first.images)]
    second = ask(tiny.layout, tiny.params, 0, 4)
    assert second.n_hinted == 4
    assert set(second.images).isdisjoint(first.images)
    other = ask(tiny.layout, tiny.params, 1, 200)
    assert other.n_hinted == 0
    assert set(other.images).isdisjoint([*first.images, *second.images])  # each facet gets images of its own
    elsewhere = ask(tiny.layout, tiny.params, 1, 200, tiny.root / "mine")
    assert set(elsewhere.images) == {*other.images, *second.images}  # no form lies there: hints alone count


def test_hints_may_name_images_by_their_ids_and_other_hints_stay(tiny: Tiny) -> None:
    everything = ask(tiny.layout, tiny.params, 0, 200).images
    prepared = tiny.layout.prepared / "train.h5"
    rows = load_training_images(prepared, tiny.params.train.validation_fraction, torch.device("cpu")).train_rows
    with ImageStore(prepared) as store:
        ids = store.image_ids()[rows].tolist()
    tiny.layout.hints.parent.mkdir(exist_ok=True)
    tiny.layout.hints.write_text("image,facet,label\n" + "".join(f"{image_id},0,a\n" for image_id in ids[:20]))
    left = ask(tiny.layout, tiny.params, 0, 200)
    assert left.n_hinted == 20
    assert len(left.images) == len(everything) - 20
    fill_in(left.form, "b")
    add_answers(tiny.layout, tiny.params, left.form)
    assert hints_of(tiny)[1:21] == [[image_id, "0", "a"] for image_id in ids[:20]]
    with pytest.raises(ConfigError, match="needs images without a hint, but all that may be asked about have one"):
        ask(tiny.layout, tiny.params, 0, 1)


def test_images_that_training_does_not_see_are_not_asked_about(tiny: Tiny) -> None:
    prepared = tiny.layout.prepared / "train.h5"
    images = load_training_images(prepared, tiny.params.train.validation_fraction, torch.device("cpu"))
    assert len(images.validation_rows) > 0
    assert len(ask(tiny.layout, tiny.params, 0, 1000).images) == len(images.train_rows)


def test_removed_images_are_not_asked_about_and_no_sheet_shows_them(tiny: Tiny) -> None:
    everything = ask(tiny.layout, tiny.params, 0, 1000)
    with ImageStore(tiny.layout.prepared / "train.h5") as store:
        removed = store.image_ids().tolist()[:10]
    remove(tiny.layout, image_ids=removed)
    assert not everything.sheet.exists()
    again = ask(tiny.layout, tiny.params, 0, 1000)
    assert set(again.images) < set(everything.images)
    assert len(everything.images) - 10 <= len(again.images) < len(everything.images)


def test_a_form_with_answers_is_not_written_anew(tiny: Tiny, tmp_path: Path) -> None:
    form = ask(tiny.layout, tiny.params, 0, 3).form
    fill_in(form)
    before = form.read_text()
    with pytest.raises(ConfigError, match=r"facet_0\.csv must not hold answers that were not read yet, got 3; pass it"):
        ask(tiny.layout, tiny.params, 0, 3)
    assert form.read_text() == before
    elsewhere = ask(tiny.layout, tiny.params, 0, 3, tmp_path / "new" / "forms")
    assert {elsewhere.form.parent, elsewhere.sheet.parent} == {tmp_path / "new" / "forms"}
    add_answers(tiny.layout, tiny.params, form)
    ask(tiny.layout, tiny.params, 0, 3)


@pytest.mark.parametrize("path", ["./a.png", "a\\b.png", " a.png", "a\nb.png"])
def test_a_file_that_a_table_would_call_otherwise_is_called_by_its_id(tiny: Tiny, path: str) -> None:
    """What is asked must be found again when the answer is read."""
    place = tiny.layout.prepared / "images.parquet"
    table = pq.read_table(place)
    first = ask(tiny.layout, tiny.params, 0, 1)
    paths = [path if one == first.images[0] else one for one in table["path"].to_pylist()]
    column = table.schema.get_field_index("path")
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array(paths, table["path"].type)), place)
    (image,) = ask(tiny.layout, tiny.params, 0, 1).images
    assert image == table["image_id"].to_pylist()[paths.index(path)]
    fill_in(first.form)
    assert add_answers(tiny.layout, tiny.params, first.form) == 1


def test_an_open_form_adds_nothing(tiny: Tiny) -> None:
    form = ask(tiny.layout, tiny.params, 0, 3).form
    assert add_answers(tiny.layout, tiny.params, form) == 0
    assert not tiny.layout.hints.exists() or len(hints_of(tiny)) == 1


def test_answers_that_contradict_hints_add_nothing(tiny: Tiny) -> None:
    form = ask(tiny.layout, tiny.params, 0, 3).form
    fill_in(form)
    add_answers(tiny.layout, tiny.params, form)
    before = tiny.layout.hints.read_text()
    fill_in(form, "y")
    with pytest.raises(ConfigError, match="hints must go with those before, so nothing is written"):
        add_answers(tiny.layout, tiny.params, form)
    assert tiny.layout.hints.read_text() == before


def test_what_cannot_be_asked_or_read_is_refused_in_words(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hints must be about a facet, 0 … 1, got 2"):
        ask(tiny.layout, tiny.params, 2, 3)
    form = tmp_path / "form.csv"
    with pytest.raises(DataError, match=r"form\.csv is missing"):
        add_answers(tiny.layout, tiny.params, form)
    form.write_text("image,facet,label\nowl.png,0,x\n")
    with pytest.raises(DataError, match=r"owl\.png"):
        add_answers(tiny.layout, tiny.params, form)
    form.write_text("image,facet,label\nimages.npz[0],7,x\n")
    with pytest.raises(ConfigError, match="hints must be about a facet, 0 … 1, got 7"):
        add_answers(tiny.layout, tiny.params, form)
    (tiny.layout.artifact("model") / "model.json").unlink()
    with pytest.raises(DataError, match="tiny must have a trained model, got none; run facets rebuild tiny"):
        ask(tiny.layout, tiny.params, 0, 3)

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.manifest import scan
from pipeline.onboarding.ladder import fewer_facets
from pipeline.onboarding.preprocessing import Choice
from pipeline.onboarding.propose import Proposal, _write, propose_experiment
from pipeline.onboarding.settings import first_setting, usual_preset
from stages import init_mog, preprocess, train
from tests.datasets.pictures import BAD_FILES, encode

REPOSITORY = Path(__file__).parents[2]


def shape_picture(seed: int, height: int, width: int) -> np.ndarray:
    """Return a bright disc or bar of one of three colours on a dark ground: something that can be clustered."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    middle = (height / 2 + rng.uniform(-2, 2), width / 2 + rng.uniform(-2, 2))
    disc = np.hypot(y - middle[0], x - middle[1]) < min(height, width) / 4
    bar = np.abs(x - middle[1]) < width / 10
    colour = np.eye(3)[seed % 3] * 0.8 + 0.2
    return np.where((disc if seed % 2 else bar)[..., None], colour, 0.1) * 255


def write_images(folder: Path, kind: str, n: int = 60) -> None:
    folder.mkdir(parents=True)
    for i in range(n):
        height, width = (64, 48) if kind == "colour" else (28, 28)
        picture = shape_picture(i, height, width)
        if kind == "colour":
            pixels = picture.astype(np.uint8)
        elif kind == "grey":
            pixels = np.where(picture.max(axis=2) > 128, 255, 0).astype(np.uint8)
        else:
            shade = np.linspace(0, 100, width)  # many shades
            pixels = ((picture.mean(axis=2) + shade) * 257).astype(np.uint16)
        (folder / f"{i:03}.png").write_bytes(encode(pixels))


def propose(
    root: Path, location: str = "data/raw/mine", name: str = "mine", *, with_trials: bool = False
) -> tuple[Proposal, Experiment]:
    """Propose, append the text to the shipped parameters, and parse the whole file."""
    proposal = propose_experiment(Layout(root, name), location, with_trials=with_trials)
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.rstrip("\n") + "\n\n" + proposal.text, encoding="utf-8")
    return proposal, load_params(root).experiment(name)


KINDS = [
    ("grey", (28, 28), "grey", "bernoulli"),
    ("colour", (32, 24), "rgb", "standardised"),
    ("16-bit grey", (28, 28), "grey", "standardised"),
]


def run_stages(root: Path, experiment: Experiment, *stages: ModuleType) -> Layout:
    layout = Layout(root, "mine")
    layout.source_manifest.parent.mkdir(parents=True)
    scan(layout, experiment.preprocess)
    for stage in stages:
        stage.run(layout, experiment)
    return layout


@pytest.mark.parametrize(("kind", "shape", "channels", "likelihood"), KINDS)
def test_proposed_experiment_is_ready_to_train(tmp_path, kind, shape, channels, likelihood):
    write_images(tmp_path / "data/raw/mine", kind)
    proposal, experiment = propose(tmp_path)
    assert (experiment.preprocess.size, experiment.preprocess.channels) == (shape, channels)
    latent_dims = (15, 15) if likelihood == "standardised" else (10, 1)
    assert (experiment.model.likelihood, experiment.model.latent_dims) == (likelihood, latent_dims)
    assert proposal.notes[0].startswith("looked at 60 of 60 images")
    layout = run_stages(tmp_path, replace(experiment, seeds=(0,)), preprocess, init_mog)
    assert (layout.artifact("init") / "init.json").exists()


@pytest.mark.soak
@pytest.mark.parametrize("kind", [kind for kind, *_ in KINDS])
def test_proposed_experiment_trains_without_edits(tmp_path, kind):
    write_images(tmp_path / "data/raw/mine", kind, n=600)
    _, experiment = propose(tmp_path, with_trials=True)
    layout = run_stages(tmp_path, experiment, preprocess, init_mog, train)
    assert (layout.artifact("model") / "model.json").exists()


def test_every_choice_has_a_reason_and_the_text_is_one_section(tmp_path):
    write_images(tmp_path / "data/raw/mine", "grey")
    proposal, _ = propose(tmp_path)
    lines = proposal.text.splitlines()
    assert lines[:3] == [
        "  mine:",
        "    # No trial was made: whether this trains is not known.",
        "    preset: black_and_white  # 100 % of the pixels are nearly black or white",
    ]
    choices = [line for line in lines if re.match(r"      [a-z_]+: |    (preset|train): ", line)]
    assert len(choices) == 9
    assert all("  # " in line for line in choices)


def test_images_in_colour_take_numbers_of_clusters_that_were_compared_and_say_so(tmp_path):
    write_images(tmp_path / "data/raw/mine", "colour", n=150)
    proposal, experiment = propose(tmp_path, with_trials=True)
    lines = proposal.text.splitlines()
    assert lines[1].startswith("    # Of 4 pairs of numbers of clusters, judged without labels by halves of the images")
    assert "    preset: directions  # in colour" in lines
    model = experiment.model
    chosen = next(line for line in lines if "→" in line)
    assert chosen.startswith(f"    # → clusters {list(model.n_components)}: halves agree: facet 0 ")
    assert (model.family, model.likelihood, model.latent_dims) == ("residual", "standardised", (15, 15))
    assert proposal.seconds is None  # nothing was trained


@pytest.mark.parametrize(
    ("n_channels", "preset"),
    [(1, "black_and_white"), (2, "directions"), (3, "directions"), (4, "directions"), (7, "directions")],
)
def test_only_grey_images_are_taken_for_black_and_white(n_channels, preset):
    pixels = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (20, n_channels, 8, 8))
    assert usual_preset(pixels)[0] == preset
    assert usual_preset(pixels // 2)[0] == "directions"


def test_the_longest_section_has_19_lines_besides_remarks():
    every = ("source", "path", "labels", "exclude", "size", "fit", "channels", "brightest")
    preprocess: dict[str, Choice] = dict.fromkeys(every, ("[x]", "why"))
    first = first_setting(400)
    _, alone = fewer_facets(first)[0]
    text = _write("mine", ("black_and_white", "why"), preprocess, first.changed(alone), None)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert len(lines) == 19
    assert {key.partition(".")[2] for key in alone} | {"batch_size"} <= set(re.findall(r"(\w+):", text))


def test_contact_sheet_shows_the_images_as_the_model_sees_them(tmp_path):
    write_images(tmp_path / "data/raw/mine", "colour")
    proposal, _ = propose(tmp_path)
    with Image.open(io.BytesIO(proposal.contact_sheet)) as image:
        sheet = np.asarray(image)
    assert sheet.shape == (8 * (64 + 2) + 2, 8 * (48 + 2) + 2, 3)  # 32×24, each pixel enlarged to 2×2
    for column, seed in enumerate((0, 1)):
        picture = shape_picture(seed, 64, 48).astype(np.uint8)
        reduced = np.rint(picture.reshape(32, 2, 24, 2, 3).mean((1, 3))).astype(int)
        shown = sheet[2:66:2, 2 + 50 * column : 50 + 50 * column : 2].astype(int)
        assert abs(shown - reduced).max() <= 1


def test_differing_sizes_and_grey_in_disguise(tmp_path):
    folder = tmp_path / "data/raw/mine"
    folder.mkdir(parents=True)
    for i in range(30):
        grey = shape_picture(i, 300 + i, 400).mean(axis=2).astype(np.uint8)
        (folder / f"{i}.png").write_bytes(encode(np.repeat(grey[..., None], 3, axis=2)))
    (folder / "tall.png").write_bytes(encode(shape_picture(3, 400, 100).mean(axis=2).astype(np.uint8)))
    _, experiment = propose(tmp_path)
    assert experiment.preprocess.size == (24, 32)
    assert experiment.preprocess.fit == "crop"
    assert experiment.preprocess.channels == "grey"


def test_large_equal_images_are_reduced_by_a_whole_number(tmp_path):
    images = np.stack([shape_picture(i, 120, 160) for i in range(20)]).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    _, experiment = propose(tmp_path, "x.npy")
    assert (experiment.preprocess.source, experiment.preprocess.path) == ("npy", "x.npy")
    assert experiment.preprocess.size == (24, 32)


def test_labels_are_found_but_choose_nothing(tmp_path):
    folder = tmp_path / "data/raw/mine"
    write_images(folder, "grey")
    plain_text = propose(tmp_path)[0].text
    for path in list(folder.iterdir()):
        (folder / path.name[2]).mkdir(exist_ok=True)
        path.rename(folder / path.name[2] / path.name)
    labelled, experiment = propose(tmp_path)
    assert experiment.preprocess.labels == "folder"

    def without_labels(text: str) -> list[str]:
        return [line for line in text.splitlines() if "labels:" not in line]

    assert without_labels(labelled.text) == without_labels(plain_text)
    (folder / "labels.csv").write_text("file,kind\n0/000.png,a\n")
    assert propose(tmp_path)[1].preprocess.labels == "labels.csv"
    (folder / "labels.csv").write_text("price,amount\n1,2\n")
    assert propose(tmp_path)[1].preprocess.labels == "folder"


def test_notes_say_what_is_odd(tmp_path):
    folder = tmp_path / "data/raw/mine"
    folder.mkdir(parents=True)
    for i in range(30):
        dim = (shape_picture(i, 20, 20).mean(axis=2) / 6).astype(np.uint8)
        (folder / f"{i}.png").write_bytes(encode(dim))
    (folder / "x.jpg").write_bytes(BAD_FILES["cmyk.jpg"][0]())
    notes = "\n".join(propose(tmp_path)[0].notes)
    assert re.search(r"of those looked at, 1 of 31 set aside: 1 × is CMYK", notes)
    assert re.search(r"no pixel is brighter than \d+ of 255, so at most \d+ shades are left; if the files", notes)


@pytest.mark.parametrize(
    ("peak", "brightest", "why"),
    [
        (1023, 1023, "16-bit images, the largest value seen is 1,023, so 10 bits are in use; larger ones are clipped"),
        (4012, 4095, "16-bit images, the largest value seen is 4,012, so 12 bits are in use; larger ones are clipped"),
        (4096, 16383, "16-bit images, the largest value seen is 4,096, so 14 bits are in use; larger ones are clipped"),
        (16384, None, ""),
        (250, None, ""),
    ],
)
def test_16_bits_are_scaled_by_those_that_are_in_use(tmp_path, peak, brightest, why):
    images = np.stack([shape_picture(i, 20, 20).mean(axis=2) for i in range(30)])
    images = np.rint(images / images.max() * peak).astype(np.uint8 if peak < 256 else np.uint16)
    np.save(tmp_path / "x.npy", images)
    proposal, experiment = propose(tmp_path, "x.npy")
    assert experiment.preprocess.brightest == brightest
    lines = [line for line in proposal.text.splitlines() if line.startswith("      brightest: ")]
    assert lines == ([] if brightest is None else [f"      brightest: {brightest}  # {why}"])
    said = f"the largest value in 16-bit images is {peak:,}, so preprocess.brightest is {brightest}: it becomes white"
    assert (said in "\n".join(proposal.notes)) == (brightest is not None)


def test_images_that_are_all_the_same_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.full((300, 8, 8), 7, np.uint8))
    with pytest.raises(DataError, match=r"at least 10 images that differ, got 1 different one among the 300 looked at"):
        propose(tmp_path, "x.npy")


def test_paths_outside_the_repository_stay_absolute(tmp_path):
    write_images(tmp_path / "else where", "grey")
    (tmp_path / "repository").mkdir()
    _, experiment = propose(tmp_path / "repository", str(tmp_path / "else where"))
    assert experiment.preprocess.path == str(tmp_path / "else where")


def test_nothing_useful_is_refused(tmp_path):
    folder = tmp_path / "mine"
    write_images(folder, "grey", n=19)
    with pytest.raises(DataError, match=r"mine must hold at least 20 usable images, got 19; add some"):
        propose(tmp_path, "mine")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(DataError, match=r"mine must hold usable images, got none \(no files\); correct the path"):
        propose(tmp_path, "mine")
    (folder / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"got none \(1 of 1 set aside: 1 × is empty \(0 bytes\); deliver it again\)"):
        propose(tmp_path, "mine")

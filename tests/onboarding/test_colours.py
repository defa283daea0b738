"""What is not read as it is stored is said with a count: grey images among coloured ones, and transparency."""

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from pipeline.core.layout import Layout
from pipeline.onboarding.propose import Proposal, propose_experiment

_GREY = default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)


def _proposal(tmp_path, pictures: list[np.ndarray]) -> Proposal:
    folder = tmp_path / "mine"
    folder.mkdir()
    for place, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{place:02}.png")
    return propose_experiment(Layout(tmp_path, "mine"), "mine")


def _coloured(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey, grey // 2, 255 - grey], axis=-1)


def _in_disguise(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("of_others", [lambda grey: grey, _in_disguise])
@pytest.mark.parametrize(("n", "found"), [(1, "1 of 30 images has colour"), (3, "3 of 30 images have colour")])
def test_how_many_images_in_colour_have_all_read_so_is_said(tmp_path, n, found, of_others):
    found_by = _proposal(tmp_path, [*map(_coloured, _GREY[:n]), *map(of_others, _GREY[n:])])
    assert f"      channels: rgb  # {found}, the others are grey\n" in found_by.text
    said = f"{found}, the others are grey: all are read as colour; preprocess.channels: grey reads all as grey"
    assert said in found_by.notes


def test_a_trace_of_colour_that_is_left_out_is_said(tmp_path):
    pictures = [_in_disguise(grey) for grey in _GREY]
    pictures[4][2, 3, 0] ^= 128  # one pixel of 1,920
    proposal = _proposal(tmp_path, pictures)
    assert "      channels: grey  # 1 of 30 images has colour, the others are grey\n" in proposal.text
    assert any("too little to read all so: all are read as grey; preprocess.channels: rgb" in n for n in proposal.notes)


@pytest.mark.parametrize("make", [lambda grey: grey, _in_disguise, _coloured])
def test_of_images_that_are_alike_nothing_is_said(tmp_path, make):
    notes = _proposal(tmp_path, list(map(make, _GREY))).notes
    assert not [note for note in notes if "have colour" in note or "transparency" in note]


def test_transparency_is_counted_where_it_is_used(tmp_path):
    opaque, clear = np.full((8, 8), 255, np.uint8), np.full((8, 8), 255, np.uint8)
    clear[0, 0] = 254
    pictures = [np.dstack([_coloured(grey), clear if n < 4 else opaque]) for n, grey in enumerate(_GREY)]
    assert "4 of 30 looked at have transparency, which is laid on white" in _proposal(tmp_path, pictures).notes

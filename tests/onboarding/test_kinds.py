"""Files of different kinds in one folder: told apart by names, left out by patterns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.parse import parse
from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.prepare.quarantine import read_account
from pipeline.datasets.readers.base import open_own
from pipeline.datasets.readers.patterns import Patterns
from pipeline.onboarding.kinds import Seen, describe_kinds, find_kinds
from stages import preprocess as preprocess_stage
from tests.datasets.archives import write_archive
from tests.datasets.builders import preprocess
from tests.datasets.pictures import encode, picture
from tests.onboarding.test_propose import propose

COLOUR, GREY, MASK = (3, False), (1, False), (1, True)


def images(pattern: str, look: tuple[int, bool], n: int = 20, size: tuple[int, int] = (30, 40)) -> list[Seen]:
    """Return what is seen of ``n`` images, whose number takes the place of ``#`` in their paths."""
    names = (pattern.replace("#", f"{number:03}") for number in range(n))
    return [Seen(name, (look[0], *size), name.encode(), look[1]) for name in names]


def crops(pattern: str) -> list[Seen]:
    return [image for n in range(20) for image in images(pattern.replace("#", f"{n}"), COLOUR, 1, (16 + n, 16))]


KINDS: dict[str, tuple[list[Seen], list[str]]] = {
    "nothing": (images("#.png", GREY, 0), []),
    "one kind": (images("#.png", GREY), []),
    "classes": (images("cats/#.png", COLOUR) + images("dogs/#.png", COLOUR), []),
    "any size, any name": (crops("#.png"), []),
    "classes, in which some images are two-valued": (
        images("a/#.png", GREY, 20) + images("b/#.png", GREY, 10) + images("b/1#.png", MASK, 10),
        [],
    ),
    "too few to tell": (images("#_a.png", GREY) + images("#_b.png", COLOUR, 2), []),
    "by end": (
        images("#_a.png", GREY, size=(12, 12)) + images("#_b.png", COLOUR),
        ["20 × grey 12×12 named *_a.png", "20 × colour 30×40 named *_b.png"],
    ),
    "by beginning": (
        images("big_#.png", GREY, 30) + images("small#.png", GREY, size=(8, 8)),
        ["30 × grey 30×40 named big_*", "20 × grey 8×8 named small*"],
    ),
    "by ending": (
        images("#.jpg", COLOUR) + images("#.png", GREY),
        ["20 × colour 30×40 named *.jpg", "20 × grey 30×40 named *.png"],
    ),
    "by folder": (
        images("full/#.png", COLOUR) + crops("crops/#.png"),
        ["20 × colour of several sizes named crops/*", "20 × colour 30×40 named full/*"],
    ),
    "folders alike": (
        images("a/#.png", GREY) + images("b/#.png", GREY) + images("c/#.png", COLOUR),
        ["40 × grey 30×40 named a/* or b/*", "20 × colour 30×40 named c/*"],
    ),
    "deep folders": (
        images("day 1/left/#.png", GREY) + images("day 2/right/#.png", COLOUR) + images("day 2/left/#.png", GREY),
        ["40 × grey 30×40 named */left/*", "20 × colour 30×40 named */right/*"],
    ),
    "names with the signs of patterns": (
        images("[a]/#.png", GREY) + images("b/#.png", COLOUR),
        ["20 × grey 30×40 named [[]a]/*", "20 × colour 30×40 named b/*"],
    ),
    "others without anything in common": (
        images("#.png", GREY) + images("thumbs/#.png", GREY, size=(8, 8)),
        ["20 × grey 30×40 besides", "20 × grey 8×8 named thumbs/*"],
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds_are_told_apart_by_names_and_looks(case: str) -> None:
    seen, expected = KINDS[case]
    kinds = find_kinds(seen, [image.path for image in seen])
    assert sorted(kind.text for kind in kinds) == sorted(expected)
    for kind in kinds:
        if kind.patterns:  # what is proposed leaves out exactly this kind
            chosen = [image for image in seen if Patterns(exclude=kind.patterns).reason(image.path) is not None]
            assert len(chosen) == kind.n_files


MASKS: dict[str, tuple[list[Seen], list[tuple[str, ...]]]] = {
    "folder": (images("images/#.jpg", COLOUR) + images("masks/#.png", MASK), [("masks/*",)]),
    "end": (images("#.png", COLOUR) + images("#_mask.png", MASK), [("*_mask.png",)]),
    "end in the same folder": (images("a/#.png", COLOUR) + images("a/#-seg.png", MASK), [("*-seg.png",)]),
    "deep": (images("x/image/#.png", GREY) + images("x/gt/#.png", MASK), [("x/gt/*",)]),
    "with grey shades": (images("images/#.png", COLOUR) + images("masks/#.png", GREY), []),
    "called something else": (images("images/#.png", COLOUR) + images("prints/#.png", MASK), []),
    "of other images": (images("images/#.png", COLOUR) + images("masks/other-#.png", MASK), []),
    "face masks": (images("masks/#.png", COLOUR) + images("hats/#.png", MASK), []),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_are_two_valued_called_so_and_belong_to_other_images(case: str) -> None:
    seen, expected = MASKS[case]
    kinds = find_kinds(seen, [image.path for image in seen])
    if case == "deep":
        expected = [("*/gt/*",)]
    assert [kind.patterns for kind in kinds if kind.is_masks] == expected
    told = describe_kinds(kinds)
    assert told.startswith("two kinds of files: ")
    assert told.endswith("are left out" if expected else f'{kinds[-1].patterns[0]}"]')


def write_pairs(folder: Path) -> None:
    """Write 25 images and their masks, and one file that is no image among each."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
        (folder / name / "empty.png").touch()
    for number in range(25):
        pixels = picture(number, 8, 8)
        (folder / "images" / f"{number}.png").write_bytes(encode(pixels))
        (folder / "masks" / f"{number}.png").write_bytes(encode(np.uint8(255) * (pixels[:, :, 0] > 128)))


def test_masks_are_proposed_to_be_left_out_and_then_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "mine")
    proposal, experiment = propose(tmp_path, "mine")
    assert experiment.preprocess.exclude == ("masks/*",)
    assert experiment.preprocess.channels == "rgb"
    assert experiment.preprocess.labels is None  # the folders are no classes
    notes = "\n".join(proposal.notes)
    assert "two kinds of files: 26 × colour 8×8 named images/*, 26 × two-valued 8×8 named masks/*" in notes
    assert "27 of 52 set aside: 25 × is left out by preprocess.exclude (masks/*); 2 × is empty" in notes
    layout = Layout(tmp_path, "mine")
    layout.source_manifest.parent.mkdir(parents=True)
    refused: list[tuple[str, str]] = []
    pinned = scan(layout, experiment.preprocess, refused)
    assert pinned["count"] == 26
    assert {reason for _, reason in refused} == {"is left out by preprocess.exclude (masks/*)"}
    assert len(refused) == 26
    preprocess_stage.run(layout, experiment)
    account = read_account(layout.prepared)
    assert account is not None
    assert f"mine: {account.text}\n" in capfd.readouterr().err
    assert account.text == (
        "27 of 52 set aside: 26 × is left out by preprocess.exclude (masks/*); 1 × is empty (0 bytes); deliver it again"
    )
    (tmp_path / "mine" / "masks" / "more.png").write_bytes(b"other")
    assert scan(layout, experiment.preprocess) == pinned
    delivery = open_delivery(layout, experiment.preprocess, str(tmp_path / "mine"), 1)
    blocks = list(delivery.blocks)
    assert sum(len(block.paths) for block in blocks) == 25
    assert sum(len(block.rejected) for block in blocks) == 28
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    assert open_delivery(layout, experiment.preprocess, str(tmp_path / "x.npy"), 1).n_images == 3


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_patterns_choose_among_the_files_of_folders_and_archives(tmp_path: Path, kind: str) -> None:
    files = {f"{folder}/{n}.png": encode(picture(n, 8, 8)) for folder in ("a", "b/a", "c") for n in range(3)}
    if kind == "tar":
        write_archive(tmp_path / "mine.tar", files)
    else:
        for name, data in files.items():
            (tmp_path / "mine.tar" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine.tar" / name).write_bytes(data)
    params = preprocess(source=kind, path="mine.tar", include=("a/*", "b/*"), exclude=("*/2.png",))
    blocks = list(open_own(params, Layout(tmp_path, "mine"), "mine.tar").blocks())
    assert [path for block in blocks for path in block.paths] == ["a/0.png", "a/1.png", "b/a/0.png", "b/a/1.png"]
    left_out = dict(pair for block in blocks for pair in block.rejected)
    unfit = "is left out, as no pattern of preprocess.include fits it"
    excluded = "is left out by preprocess.exclude (*/2.png)"
    assert left_out == {
        **dict.fromkeys(("c/0.png", "c/1.png", "c/2.png"), unfit),
        **dict.fromkeys(("a/2.png", "b/a/2.png"), excluded),
    }


def test_of_several_archives_a_path_says_which(tmp_path: Path) -> None:
    for shard in ("x.tar", "y.tar"):
        files = {f"{folder}/{n}.png": encode(picture(n, 8, 8)) for folder in ("a", "b") for n in range(2)}
        write_archive(tmp_path / "mine" / shard, files)
    params = preprocess(source="tar", path="mine", exclude=("x.tar/*", "*/b/0.png"))
    blocks = list(open_own(params, Layout(tmp_path, "mine"), "mine").blocks())
    assert [path for block in blocks for path in block.paths] == ["y.tar/a/0.png", "y.tar/a/1.png", "y.tar/b/1.png"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exclude": []}, r"x: exclude needs patterns such as 'masks/\*' or null, got \[\]"),
        ({"include": ["a", ""]}, r"x: include needs patterns such as 'masks/\*' or null, got \['a', ''\]"),
        ({"exclude": "masks"}, r"x\.exclude must be a list, got 'masks'"),
        (
            {"source": "npy", "path": "x.npy", "include": ["a*"]},
            r"x: include chooses files by their paths, which source npy does not have, got \['a\*'\]; use null",
        ),
        (
            {"source": "digits", "path": None, "exclude": ["a*"]},
            r"x: exclude chooses files by their paths, which source digits does not have",
        ),
    ],
)
def test_patterns_that_choose_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    plain = {**vars(preprocess(source="folder", path="mine")), **values}
    with pytest.raises(ConfigError, match=message):
        parse(PreprocessParams, plain, "x")

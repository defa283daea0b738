import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.manifest import FileHashes
from pipeline.datasets.readers.arrays import to_uint8
from pipeline.datasets.readers.base import Source, open_source
from tests.datasets.builders import preprocess
from tests.datasets.pictures import noise

GREY = noise(11, 5, 4)
COLOUR = noise(7, 5, 4, 3)


def array_source(root: Path, name: str, **changes: Any) -> Source:
    kind = "hdf5" if name.endswith(("h5", "hdf5")) else "npy"
    return open_source(preprocess(source=kind, path=name, **changes), Layout(root, "mine"))


def read(source: Source) -> np.ndarray:
    return np.concatenate([np.asarray(block.images) for block in source.blocks()])


def npy(array: np.ndarray, **options: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, array, **options)
    return target.getvalue()


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays in the format of the ending."""
    if path.suffix == ".npy":
        path.write_bytes(npy(arrays["images"]))
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


FORMATS = ["x.npy", "x.npz", "x.h5", "x.hdf5"]


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_grey_and_colour_are_read_in_every_format_and_layout(tmp_path, name):
    for array, expected in (
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (np.ascontiguousarray(COLOUR.transpose(0, 3, 1, 2)), COLOUR.transpose(0, 3, 1, 2)),
    ):
        write(tmp_path / name, {"images": array})
        source = array_source(tmp_path, name)
        assert source.n_images() == len(array)
        assert np.array_equal(read(source), expected)
    (block,) = source.blocks()
    assert block.paths[2] == f"{name}[2]"


def test_large_files_come_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.readers.block.BLOCK_BYTES", 50)
    for name in FORMATS:
        write(tmp_path / name, {"images": GREY})
        blocks = list(array_source(tmp_path, name).blocks())
        assert [len(block.paths) for block in blocks] == [2, 2, 2, 2, 2, 1]
        assert np.array_equal(np.concatenate([np.asarray(block.images) for block in blocks]), GREY[:, None])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 1, 255], np.uint8), [0, 1, 255]),
        (np.array([False, True]), [0, 255]),
        (np.array([0, 128, 129, 65535], np.uint16), [0, 0, 1, 255]),
        (np.array([0, 0.5 / 255, 0.5, 1], np.float32), [0, 1, 128, 255]),
        (np.array([0.25], np.float16), [64]),
        (np.array([0, 255], np.int64), [0, 255]),
        (np.array([0, 127], np.int8), [0, 127]),
    ],
)
def test_numbers_become_bytes(values, expected):
    assert to_uint8(values, "x").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.5, 1.01]), r"floating-point pixels must lie within 0 and 1, got 1.01; rescale"),
        (np.array([-0.1]), r"within 0 and 1, got -0.1"),
        (
            np.array([0.5, np.nan]),
            r"within 0 and 1, got nan; a value is missing there or a computation failed; put num",
        ),
        (np.array([np.inf]), r"within 0 and 1, got inf; a value is missing there or a computation failed; put numbers"),
        (np.array([256]), r"pixels of type int64 must lie within 0 and 255, got 256; use uint8"),
        (np.array([-1], np.int8), r"pixels of type int8 must lie within 0 and 255, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        to_uint8(values, "x")


def test_images_are_found_by_name_or_because_they_are_the_only_ones(tmp_path):
    write(tmp_path / "a.npz", {"x": GREY, "images": COLOUR})
    assert read(array_source(tmp_path, "a.npz")).shape == (7, 3, 5, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/down"] = GREY
        file["scores"] = np.arange(11.0)
    assert read(array_source(tmp_path, "a.h5")).shape == (11, 1, 5, 4)


# --- labels and pinning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_arrays_beside_the_images_are_labels_if_asked_for(tmp_path, name):
    names = np.array(["cat", "dog", ""] * 3 + ["cat", "ant"])
    write(tmp_path / name, {"images": GREY, "kind": names, "count": np.arange(11), "score": np.arange(11.0)})
    assert next(iter(array_source(tmp_path, name).blocks())).labels == {}
    source = array_source(tmp_path, name, labels="inside")
    (block,) = source.blocks()
    assert block.labels["count"].tolist() == list(range(11))
    assert block.labels["kind"].tolist() == [1, 2, -1] * 3 + [1, 0]
    assert source.class_names() == {"kind": ["ant", "cat", "dog"]}
    assert "score" not in block.labels


def test_csv_has_a_line_an_image(tmp_path):
    write(tmp_path / "x.npy", {"images": GREY})
    (tmp_path / "x.csv").write_text("kind\n" + "a\nb\n" * 5 + "a\n")
    (block,) = array_source(tmp_path, "x.npy", labels="x.csv").blocks()
    assert block.labels["kind"].tolist() == [0, 1] * 5 + [0]
    (tmp_path / "x.csv").write_text("kind\na\n")
    with pytest.raises(DataError, match=r"x.csv must have one line an image \(11\) below its first, got 1; mend it"):
        list(array_source(tmp_path, "x.npy", labels="x.csv").blocks())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("folder", r"labels: folder needs source folder, tar or zip, got an array file; use a CSV, inside or null"),
        ("inside", r"must hold arrays of 11 whole numbers or texts beside the images for labels: inside, got none"),
    ],
)
def test_labels_that_are_not_there_are_refused(tmp_path, labels, message):
    write(tmp_path / "x.npy", {"images": GREY})
    with pytest.raises(DataError, match=message):
        list(array_source(tmp_path, "x.npy", labels=labels).blocks())


def test_fingerprint_is_the_content(tmp_path):
    files = FileHashes(tmp_path / "list.parquet")
    write(tmp_path / "x.npy", {"images": GREY})
    write(tmp_path / "y.npy", {"images": GREY})
    write(tmp_path / "z.npy", {"images": GREY + 1})
    x, y, z = (array_source(tmp_path, f"{name}.npy").fingerprint(files) for name in "xyz")
    assert x == y != z


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
def test_urls_are_read(tmp_path, name):
    write(tmp_path / name, {"images": GREY})
    memory: Any = fsspec.filesystem("memory")
    memory.pipe(f"/arrays/{name}", (tmp_path / name).read_bytes())
    try:
        source = array_source(tmp_path, f"memory://arrays/{name}")
        assert np.array_equal(read(source), GREY[:, None])
        assert source.fingerprint(FileHashes(tmp_path / "l"))["file"]["size"] == (tmp_path / name).stat().st_size
    finally:
        memory.store.clear()


# --- what is refused --------------------------------------------------------------------------------------------------


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickles_are_never_loaded(tmp_path, name):
    mark = tmp_path / "executed"
    trap = np.empty((2, 3, 3), object)
    trap[:] = Trap(mark)
    data = npy(trap, allow_pickle=True)
    if name == "x.npz":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("images.npy", data)
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"holds pickled objects, which are never loaded; save a plain array"):
        array_source(tmp_path, name).fetch()
    assert not mark.exists()
    np.load(io.BytesIO(data), allow_pickle=True)
    assert mark.exists(), "the trap must work, else this proves nothing"


def test_a_bare_pickle_is_never_loaded(tmp_path):
    mark = tmp_path / "executed"
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(DataError, match=r"x.npy must have a NumPy array header, but the magic string is not correct"):
        array_source(tmp_path, "x.npy").fetch()
    assert not mark.exists()


def header(text: str, version: int = 1) -> bytes:
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1") + bytes(1000)


def described(descr: str = "'|u1'", fortran: str = "False", shape: str = "(2, 3, 4)") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}")


NPY_RULES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"must have a NumPy array header, but EOF: reading magic string, expected 8 bytes got 0; write"),
    "other content": (b"GIF89a and more", r"must have a NumPy array header, but the magic string is not correct"),
    "cut in the header": (
        described()[:20],
        r"must have a NumPy .* but EOF: reading array header, expected \d+ bytes got 10;",
    ),
    "cut in the data": (
        npy(GREY)[:-1],
        r"must hold 220 bytes for shape \(11, 5, 4\) of uint8, got 219; it is truncated",
    ),
    "huge header": (
        header(" " * 20_000, version=2),
        r"but EOF: reading array header, expected 20000 bytes got 9988; write",
    ),
    "no dictionary": (header("[1, 2]"), r"must have a NumPy array header, but"),
    "code": (header("__import__('os').getcwd()"), r"must have a NumPy array header, but"),
    "deep": (header("(" * 9000), r"must have a NumPy array header, but"),
    "no shape": (header("{'descr': '|u1'}"), r"must have a NumPy array header, but"),
    "negative": (described(shape="(-2, 3, 4)"), r"must have a NumPy array header, but shape \(-2, 3, 4\)"),
    "bool shape": (described(shape="(True, 3, 4)"), r"must have a NumPy array header, but shape"),
    "vast": (described(shape="(99999999999, 64, 64)"), r"must hold 409599999995904 bytes .* got \d+; it is truncated"),
    "records": (described("[('a', '|u1')]"), r"must hold plain numbers, got records"),
    "complex": (described("'<c8'"), r"must hold whole or floating-point numbers, got '<c8'; convert"),
    "dates": (described("'<M8[s]'"), r"must hold whole or floating-point numbers"),
    "texts": (described("'<U3'"), r"must hold numbers as images, got <U3; convert the array to uint8"),
    "Fortran": (described(fortran="True"), r"must be in C order, got Fortran order; save numpy.ascontiguousarray"),
    "number": (described(shape="()"), r"must be an array of images or rows, got a single number"),
    "flat": (described(shape="(2, 12)"), r"must hold floats as rows .*, got uint8 of shape \(2, 12\); convert"),
    "five axes": (described(shape="(1, 2, 3, 4, 1)"), r"must have shape .* got \(1, 2, 3, 4, 1\)"),
    "many channels": (described(shape="(2, 5, 7, 6)"), r"with 1 to 4 channels, or .* got \(2, 5, 7, 6\)"),
    "no images": (described(shape="(0, 3, 4)"), r"must hold at least one image of at least one pixel, got shape \(0,"),
    "no pixels": (described(shape="(2, 0, 4)"), r"must hold at least one image of at least one pixel"),
    "too large": (described(shape="(1, 11, 11)"), r"must have images of at most max_pixels = 100 pixels, got 121"),
}


@pytest.mark.parametrize("rule", list(NPY_RULES))
def test_npy_rules(tmp_path, rule):
    content, message = NPY_RULES[rule]
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        array_source(tmp_path, "x.npy", max_pixels=100).fetch()
    if content:
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("images.npy", content)
        with pytest.raises(DataError, match=message):
            array_source(tmp_path, "x.npz", max_pixels=100).fetch()


def test_files_of_no_known_kind_or_absent_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"x.npy is missing; put the file there"):
        array_source(tmp_path, "x.npy").fetch()
    (tmp_path / "x.mat").write_bytes(b"")
    with pytest.raises(DataError, match=r"x.mat must end in .npy, .npz, .h5 or .hdf5; rename it"):
        array_source(tmp_path, "x.mat").fetch()
    (tmp_path / "y.npy").mkdir()
    with pytest.raises(DataError, match=r"y.npy must be a file, got a folder, FIFO or device"):
        array_source(tmp_path, "y.npy").fetch()


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_ambiguous_and_empty_containers_are_refused(tmp_path, name):
    write(tmp_path / name, {"a": GREY, "b": GREY})
    with pytest.raises(
        DataError, match=r"must hold an array 'images', a single one with 3 or 4 axes, or one a split .*'a'.*'b'"
    ):
        array_source(tmp_path, name).fetch()
    write(tmp_path / name, {"a": np.arange(3)})
    with pytest.raises(DataError, match=r"must hold an array 'images', a single one"):
        array_source(tmp_path, name).fetch()
    (tmp_path / name).write_bytes(b"neither one nor the other")
    with pytest.raises(DataError, match=rf"{name} must be complete and undamaged, but"):
        array_source(tmp_path, name).fetch()


def test_hdf5_links_lead_nowhere(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = GREY
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("secret.h5", "images")
        file["round"] = h5py.SoftLink("/")
    with pytest.raises(DataError, match=r"x.h5:/images keeps its data in other files, which are not read; copy them"):
        array_source(tmp_path, "x.h5").fetch()
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["own"] = GREY
    assert array_source(tmp_path, "x.h5").n_images() == len(GREY), "the file's own images count alone"

    with h5py.File(tmp_path / "x.h5", "w") as file:
        layout = h5py.VirtualLayout(shape=GREY.shape, dtype=GREY.dtype)
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "images", shape=GREY.shape)
        file.create_virtual_dataset("images", layout)
    with pytest.raises(DataError, match=r"keeps its data in other files, which are not read; copy them into this one"):
        array_source(tmp_path, "x.h5").fetch()

    (tmp_path / "raw").write_bytes(GREY.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", GREY.shape, GREY.dtype, external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(DataError, match=r"keeps its data in other files"):
        array_source(tmp_path, "x.h5").fetch()


def test_hdf5_groups_that_hold_each_other_end(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group: Any = file.create_group("a/b")
        group["back"] = file["a"]
        group["images"] = GREY
    assert read(array_source(tmp_path, "x.h5")).shape == (11, 1, 5, 4)


def test_hdf5_chunks_have_a_limit(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (1000, 1000, 1000), np.uint8, chunks=(1000, 1000, 300), compression="gzip")
    with pytest.raises(DataError, match=r"must have chunks of at most 268435456 bytes, got 300000000; rewrite it"):
        array_source(tmp_path, "x.h5").fetch()


# --- fuzzing ----------------------------------------------------------------------------------------------------------

WHOLE: dict[str, bytes] = {}


def whole(name: str, folder: Path) -> bytes:
    if name not in WHOLE:
        write(folder / name, {"images": GREY, "kind": np.arange(11)})
        WHOLE[name] = (folder / name).read_bytes()
    return WHOLE[name]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["x.npy", "x.npz", "x.h5"]), st.data())
def test_fuzzed_files_give_an_error_or_images(tmp_path, name, data):
    damaged = bytearray(whole(name, tmp_path))
    for _ in range(data.draw(st.integers(0, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    (tmp_path / name).write_bytes(damaged)
    before = sorted(path.name for path in tmp_path.iterdir())
    try:
        pixels = read(array_source(tmp_path, name, labels="inside" if name != "x.npy" else None, max_pixels=10_000))
    except DataError as error:
        pixels, message = np.zeros((0, 1, 1, 1), np.uint8), str(error)
        assert message.startswith(str(tmp_path)), message
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=80), st.integers(1, 3))
def test_fuzzed_npy_headers_give_an_error(tmp_path, text, version):
    (tmp_path / "x.npy").write_bytes(header(text, version))
    with pytest.raises(DataError, match=r"x.npy "):
        array_source(tmp_path, "x.npy").fetch()


# --- several splits, and what is not needed ---------------------------------------------------------------------------

NAMES = {
    "MedMNIST": ("train_images", "val_images", "test_images", "train_labels", "val_labels", "test_labels"),
    "Keras": ("x_train", "x_val", "x_test", "y_train", "y_val", "y_test"),
    "groups": ("train/x", "valid/x", "test/x", "train/y", "valid/y", "test/y"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("is_column", [False, True])
def test_splits_told_by_names_are_kept_with_their_labels(tmp_path, kind, is_column):
    names, ending = NAMES[kind], "h5" if kind == "groups" else "npz"
    lengths = (5, 2, 4)
    images = np.split(GREY, np.cumsum(lengths)[:-1])
    labels = np.split(np.arange(11) % 3, np.cumsum(lengths)[:-1])
    labels = [part[:, None] for part in labels] if is_column else labels
    write(tmp_path / f"x.{ending}", dict(zip(names, [*images, *labels], strict=True)))
    source = array_source(tmp_path, f"x.{ending}", labels="inside")
    assert source.n_images() == 11
    blocks = sorted(source.blocks(), key=lambda block: [name in block.paths[0] for name in names[:3]], reverse=True)
    assert [block.split for block in blocks] == ["train", "train", "test"]
    assert np.array_equal(np.concatenate([block.images[:, 0] for block in blocks]), GREY)
    (factor,) = blocks[0].labels
    assert np.concatenate([block.labels[factor] for block in blocks]).tolist() == (np.arange(11) % 3).tolist()
    assert factor in ("labels", "y")
    assert source.possible_labels().value == "inside"


def test_splits_of_differing_shapes_need_a_size(tmp_path):
    write(tmp_path / "x.npz", {"train_images": GREY, "test_images": GREY[:, :4]})
    with pytest.raises(DataError, match=r"the images of all splits must agree in shape, got .*; set preprocess.size"):
        list(array_source(tmp_path, "x.npz").blocks())
    assert len(list(array_source(tmp_path, "x.npz", size=(8, 8)).blocks())) == 2


def test_masks_beside_the_images_of_each_split_are_left_alone(tmp_path):
    parts = {f"{split}_{kind}": GREY for split in ("train", "test") for kind in ("images", "masks")}
    write(tmp_path / "x.npz", parts)
    assert [block.split for block in array_source(tmp_path, "x.npz").blocks()] == ["train", "test"]


def test_pickled_objects_beside_images_are_left_alone_and_never_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", imgs=GREY, metadata=np.array({"author": "me"}, object))
    (block,) = array_source(tmp_path, "x.npz").blocks()
    assert np.array_equal(block.images[:, 0], GREY)
    np.savez(tmp_path / "y.npz", metadata=np.array({"author": "me"}, object))
    with pytest.raises(DataError, match="holds pickled objects, which are never loaded"):
        array_source(tmp_path, "y.npz").n_images()


def test_floats_a_hair_outside_are_black_or_white():
    assert to_uint8(np.array([-1e-7, 1.0000001, 0.5]), "x").tolist() == [0, 255, 128]

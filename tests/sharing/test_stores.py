"""What every store must do, tried on a folder, on a real S3 server, and by HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, DataError, PublishError, ResourceError
from pipeline.core.storage import file_sha256
from pipeline.sharing import Blob, Head, Listing, Overtaken, Store, open_store
from pipeline.sharing.store import Missing
from tests.sharing.servers import http_server, s3_server

HEAD = Head(1, "0" * 64 + "-0", 7, "state", "2026-11-30T12:00:00+00:00", "anna@box")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["folder", "s3", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return str(tmp_path / "share") if request.param == "folder" else f"memory://{tmp_path.name}"


def send(store: Store, path: Path, content: bytes, base: int = 0) -> Blob:
    path.write_bytes(content)
    blob = Blob(file_sha256(path), base, len(content))
    store.send(path, blob.name)
    return blob


def test_blobs_come_back_as_they_were(address: str, tmp_path: Path) -> None:
    store = open_store(address, "toy", write=True)
    assert store.sizes() == {}
    one, two = send(store, tmp_path / "one", b"one"), send(store, tmp_path / "two", b"")
    store = open_store(address, "toy")
    assert store.sizes() == {one.name: 3, two.name: 0}
    store.fetch(one, tmp_path / "back", "one")
    assert (tmp_path / "back").read_bytes() == b"one"
    store.delete([one.name, one.name[:-1] + "9"])
    assert store.sizes() == {two.name: 0}
    with pytest.raises(Missing, match="missing"):
        store.fetch(one, tmp_path / "again", "one")
    assert not (tmp_path / "again").exists()


def test_the_head_is_written_on_top_of_the_one_that_was_seen(address: str) -> None:
    store, other = open_store(address, "toy", write=True), open_store(address, "toy", write=True)
    head, tag = store.head()
    assert head is None
    store.swap(HEAD, tag)
    with pytest.raises(Overtaken):
        other.swap(replace(HEAD, by="ben@box"), tag)
    head, tag = other.head()
    assert head == HEAD
    other.swap(replace(HEAD, number=2), tag)
    with pytest.raises(Overtaken):
        store.swap(replace(HEAD, number=2, by="eve@box"), tag)
    assert store.head()[0] == replace(HEAD, number=2)
    assert store.refuses_second == (not address.startswith("memory"))


def test_a_store_that_speaks_s3_without_conditions_is_found_out(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    call = S3FileSystem.call_s3

    def ignoring(self: S3FileSystem, method: str, *arguments: object, **options: object) -> object:
        return call(self, method, *arguments, **{key: options[key] for key in options if not key.startswith("If")})

    monkeypatch.setattr(S3FileSystem, "call_s3", ignoring)
    store = open_store(f"{bucket}/old", "toy", write=True)
    for number in (1, 2):
        store.swap(replace(HEAD, number=number), store.head()[1])
        assert not store.refuses_second


def test_a_damaged_blob_is_fetched_again_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "share"), "toy", write=True)
    blob = send(store, tmp_path / "one", b"one")
    fetch, tries = store._get, []

    def flaky(name: str, target: Path) -> None:
        fetch(name, target)
        tries.append(name)
        if len(tries) == 1:
            target.write_bytes(b"on")

    monkeypatch.setattr(store, "_get", flaky)
    store.fetch(blob, tmp_path / "back", "published/toy/one")
    assert (len(tries), (tmp_path / "back").read_bytes()) == (2, b"one")
    (Path(store.place) / "blobs" / blob.name).write_bytes(b"two")
    with pytest.raises(DataError, match=rf"{blob.name}, which is published/toy/one, must have the bytes"):
        store.fetch(blob, tmp_path / "other", "published/toy/one")
    assert not list(tmp_path.glob("*other*"))


def test_records_are_checked(tmp_path: Path) -> None:
    head = HEAD.dump()
    assert Head.parse(head, "head.json") == HEAD
    for damaged in (head.replace(b"anna", b"eva_"), b"{}", b"[1]", b"\xff", head[:-3]):
        with pytest.raises(DataError, match=r"head\.json must"):
            Head.parse(damaged, "head.json")
    blob = Blob("0" * 64, 3, 5)
    assert Listing.parse(Listing({"published/manifest.json": blob}).dump(), "x").files == {
        "published/manifest.json": blob
    }
    for name in (
        "published/../../evil",
        "/etc/passwd",
        "published//x",
        "x",
        "published/./x",
        "..",
        "published/.next/plan.json",
    ):
        with pytest.raises(DataError, match="must list files of an experiment"):
            Listing.parse(Listing({name: blob}).dump(), "x")
    with pytest.raises(DataError, match="must list files of an experiment"):
        Listing.parse(Listing({"published/x": Blob("../" * 22, 0, 1)}).dump(), "x")


def test_a_damaged_listing_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "share"), "toy", write=True)
    blob = send(store, tmp_path / "one", Listing({}).dump())
    store.swap(replace(HEAD, listing=blob.name), None)
    assert store.current()[1] == Listing({})
    (Path(store.place) / "blobs" / blob.name).write_bytes(b"{}")
    with pytest.raises(DataError, match="must be as it was sent"):
        store.current()
    store.delete([blob.name])
    with pytest.raises(Missing):
        store.current()


def test_a_share_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    with pytest.raises(ConfigError, match="must be a folder of its own"):
        open_store(str(tmp_path), "toy", write=True)


def test_by_http_a_share_is_read(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "share"), "toy", write=True)
    blob = send(store, tmp_path / "one", Listing({}).dump())
    with http_server(tmp_path / "share") as url:
        assert open_store(url, "toy").head() == (None, None)
        store.swap(replace(HEAD, listing=blob.name), None)
        assert open_store(url, "toy").current()[:2] == (replace(HEAD, listing=blob.name), Listing({}))
        open_store(url, "toy").fetch(blob, tmp_path / "back", "one")
        with pytest.raises(Missing):
            open_store(url, "toy").fetch(replace(blob, base=4), tmp_path / "other", "one")
        with pytest.raises(ConfigError, match="nothing can be sent to http://"):
            open_store(url, "toy", write=True)
    with pytest.raises(ResourceError, match="must be within reach"):
        open_store(url, "toy").head()
    assert (tmp_path / "back").read_bytes() == Listing({}).dump()


def test_what_cannot_be_reached_is_one_line(bucket: str) -> None:
    with pytest.raises(ResourceError, match="nonsense://x/published/toy must be within reach"):
        open_store("nonsense://x", "toy")
    assert open_store(f"{bucket}/none", "toy").missing_root() == ""
    missing = open_store("s3://nobody-has-this/x", "toy", write=True)
    assert missing.missing_root() == "bucket nobody-has-this"
    assert missing.head() == (None, None)
    with pytest.raises((ResourceError, PublishError), match="must be within reach"):
        missing.swap(HEAD, None)

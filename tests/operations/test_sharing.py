"""Two clones of a project and what they share: tables, ids, models, batches, removals."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ConfigError, DataError, PublishError
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations import pull as pull_module
from pipeline.operations import retrain as retrain_module
from pipeline.operations.check import check_experiments
from pipeline.operations.first_publish import require_own_history
from pipeline.operations.ingest import ingest
from pipeline.operations.pull import pull
from pipeline.operations.push import push
from pipeline.operations.remove import remove
from pipeline.operations.retrain import retrain
from pipeline.operations.shared import noted_head
from pipeline.prediction.loading import load
from pipeline.sharing import open_store
from pipeline.sharing.folder import FolderStore
from pipeline.tables import paths, query, read
from tests.operations.killing import kill_after, moments, seconds_of
from tests.operations.test_ingest import save
from tests.operations.test_kills import keep_one_seed, rebuild_without_dvc
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.sharing.servers import http_server, s3_server

pytestmark = pytest.mark.no_shapes  # the operations' own tests check shapes

NOT_IN_GIT = ("published", "batches", ".work", "prepared", "artifacts")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def full(tiny_template: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The experiment after a delivery; copy it, never change it."""
    tiny = tiny_template.copy(tmp_path_factory.mktemp("full") / "anna")
    keep_one_seed(tiny.root / "params.yaml")
    add(tiny, 30, seed=1)
    return tiny


@pytest.fixture
def anna(full: Tiny, tmp_path: Path) -> Tiny:
    return full.copy(tmp_path / "anna")


@pytest.fixture
def share(tmp_path: Path) -> str:
    return str(tmp_path / "share")


def add(tiny: Tiny, n_images: int, seed: int) -> str:
    """Ingest some images and return the batch."""
    path = save(tiny.root.parent / f"new-{seed}.npy", new_images(n_images, seed))
    batch_id = ingest(tiny.layout, tiny.params, path).batch_id
    assert batch_id is not None
    return batch_id


def clone(tiny: Tiny, name: str) -> Tiny:
    """Return what git carries of a project."""
    root = tiny.root.with_name(name)
    shutil.copytree(tiny.root, root, ignore=shutil.ignore_patterns(*NOT_IN_GIT))
    return Tiny(root)


def pulled(tiny: Tiny, name: str, address: str) -> Tiny:
    """Return a clone that has pulled."""
    other = clone(tiny, name)
    pull(other.layout, other.params, address)
    return other


def require_equal(one: Tiny, other: Tiny) -> None:
    """Insist that two clones publish the same rows, ids and files."""
    assert one.image_ids() == other.image_ids()
    for table in ("facet_0", "facet_1", "images", "clusters", "groups", "batches", "lineage"):
        ours, theirs = (read(EXPERIMENT, table, root=tiny.root, engine="arrow") for tiny in (one, other))
        assert ours.equals(theirs), table
    assert one.history.minted_by() == other.history.minted_by()
    shards = [sorted(path.name for path in tiny.layout.batches.glob("*")) for tiny in (one, other)]
    assert shards[0] == shards[1]
    assert (other.layout.published / "report.html").exists()


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_a_second_clone_goes_on_as_the_first_one_would(
    anna: Tiny, share: str, place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = share if place == "folder" else request.getfixturevalue("bucket")
    first = push(anna.layout, anna.params, address)
    assert (first.version, first.is_new) == (2, True)
    assert push(anna.layout, anna.params) == changed(first, sent=0, n_bytes=0, is_new=False)
    ben = clone(anna, "ben")
    assert json.loads(ben.layout.shared.read_text())["address"] == address
    with pytest.raises(PublishError, match="facets pull tiny is due first"):
        require_own_history(ben.layout)
    assert pull(ben.layout, ben.params).is_new
    require_equal(anna, ben)
    again = pull(ben.layout, ben.params)
    assert (again.is_new, again.fetched) == (False, 0)
    for table in ("facet_1", "clusters"):  # by the share itself
        assert read(EXPERIMENT, table, root=address, engine="arrow").equals(
            read(EXPERIMENT, table, root=ben.root, engine="arrow")
        )
    assert query(EXPERIMENT, "SELECT count(*) AS n FROM images", root=address)["n"].tolist() == [150]
    assert add(ben, 12, seed=2) == add(anna, 12, seed=2)
    monkeypatch.setattr(retrain_module, "rebuild", rebuild_without_dvc)
    for tiny in (anna, ben):
        retrain(tiny.root, EXPERIMENT, force=True)
    columns = ["image_id", "cluster_uid", "group_uid", "model_version"]
    for facet in ("facet_0", "facet_1"):
        ours, theirs = (
            read(EXPERIMENT, facet, columns=columns, root=tiny.root, engine="arrow") for tiny in (anna, ben)
        )
        assert ours.equals(theirs)
    assert anna.history.minted_by() == ben.history.minted_by()
    assert anna.history.served().version == 4


def test_what_comes_later_goes_both_ways(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    batch_id = add(ben, 12, seed=2)
    sent = push(ben.layout, ben.params)
    assert 0 < sent.sent < 30
    assert pull(anna.layout, anna.params).version == 3
    require_equal(ben, anna)
    gone = [anna.image_ids("train")[0], anna.image_ids(batch_id)[3]]
    remove(anna.layout, [], gone)
    remove(anna.layout, [batch_id])
    pull(anna.layout, anna.params)  # of a share that is behind
    assert push(anna.layout, anna.params).deleted > 10
    assert pull(ben.layout, ben.params).is_new
    require_equal(anna, ben)
    assert not {*gone} & {*ben.image_ids()}
    assert set(read_id_list(ben.layout.removed)) == set(read_id_list(anna.layout.removed)) >= {*gone}
    names = {path.name for path in (Path(share) / "published" / EXPERIMENT / "blobs").iterdir()}
    head, listing, _ = open_store(share, EXPERIMENT).current()
    assert head is not None
    assert names == {*listing.blobs, head.listing}
    assert not (ben.layout.batches / batch_id).exists()
    assert push(ben.layout, ben.params).is_new is False


def test_of_two_who_publish_at_once_the_second_is_told(anna: Tiny, share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    ours, theirs = add(anna, 12, seed=2), add(ben, 14, seed=3)
    swap = FolderStore.swap

    def after_anna(store: FolderStore, *arguments: object) -> None:
        monkeypatch.setattr(FolderStore, "swap", swap)
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(push, anna.layout, anna.params).result()
        store.swap(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(FolderStore, "swap", after_anna)
    with pytest.raises(
        PublishError, match=r"version 3, which .*@.* pushed at .*does not come from it; facets pull tiny"
    ):
        push(ben.layout, ben.params)
    with pytest.raises(PublishError, match="and others are published here; facets pull tiny --replace"):
        pull(ben.layout, ben.params)
    assert sorted(path.name for path in ben.layout.batches.glob("b-*"))  # nothing of it is gone
    result = pull(ben.layout, ben.params, replace=True)
    assert (result.version, result.added) == (4, (theirs,))
    push(ben.layout, ben.params)
    assert pull(anna.layout, anna.params).version == 4
    require_equal(anna, ben)
    assert {ours, theirs} <= {path.name for path in anna.layout.batches.iterdir()}


@pytest.mark.parametrize("then", ["push", "pull"])
def test_batches_that_a_killed_pull_was_to_add_are_added_next(anna: Tiny, share: str, then: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    add(anna, 12, seed=2)
    push(anna.layout, anna.params)
    batch_id = add(ben, 14, seed=3)

    def cut_off() -> None:
        pull_module.publish_left = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        pull(ben.layout, ben.params, replace=True)

    killed_at(-1, cut_off)
    assert batch_id not in {row["batch_id"] for row in ben.history.rows("batches")}
    waits = f"1 batch of yours waits ({batch_id}): facets pull tiny adds it"
    found = check_experiments(ben.root, [EXPERIMENT])[EXPERIMENT]
    assert (found.problems, found.waiting) == ((), (waits,))
    if then == "pull":
        add(anna, 9, seed=4)
        push(anna.layout, anna.params)
        with pytest.raises(PublishError, match="must not lose what others pushed"):
            push(ben.layout, ben.params)
    result = (push if then == "push" else pull)(ben.layout, ben.params)
    assert (result.added, result.faults) == ((batch_id,), ())
    assert check_experiments(ben.root, [EXPERIMENT])[EXPERIMENT].waiting == ()
    push(ben.layout, ben.params)
    pull(anna.layout, anna.params)
    require_equal(anna, ben)
    assert batch_id in {row["batch_id"] for row in anna.history.rows("batches")}


def test_a_clone_with_a_history_of_its_own_overwrites_only_if_told(anna: Tiny, tiny_template: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    own = tiny_template.copy(anna.root.with_name("own"))
    add(own, 5, seed=7)
    with pytest.raises(PublishError, match="--replace overwrites it"):
        push(own.layout, own.params, share)
    assert noted_head(own.layout) is None
    assert push(own.layout, own.params, share, replace=True).is_new
    with pytest.raises(PublishError, match="--replace"):
        pull(anna.layout, anna.params)


def test_a_share_that_is_gone_is_no_new_one(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    push(anna.layout, anna.params, f"{share}-2")
    (Path(share) / "published" / EXPERIMENT / "head.json").unlink()
    for tiny in (anna, ben):
        with pytest.raises(PublishError, match="held version 2 when it was last used from here, but holds nothing now"):
            push(tiny.layout, tiny.params, share)
    assert push(ben.layout, ben.params, share, replace=True).is_new
    assert pull(anna.layout, anna.params, share).version == 2


def test_nothing_that_others_pushed_is_lost(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    add(anna, 12, seed=2)
    push(anna.layout, anna.params)
    with pytest.raises(PublishError, match="must not lose what others pushed"):
        push(ben.layout, ben.params)
    pull(ben.layout, ben.params)
    # An image that is on no table any more: the list alone tells.
    anna.layout.removed.write_text(json.dumps(["i-" + "0" * 32]))
    push(anna.layout, anna.params)
    add(ben, 9, seed=4)
    with pytest.raises(PublishError, match="must not lose what others pushed"):
        push(ben.layout, ben.params)
    assert not pull(ben.layout, ben.params).is_new
    assert read_id_list(ben.layout.removed) == ["i-" + "0" * 32]
    push(ben.layout, ben.params)


def test_a_pull_goes_on_when_somebody_pushes_meanwhile(anna: Tiny, share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push(anna.layout, anna.params, share)
    ben = clone(anna, "ben")
    fetch = FolderStore._get

    def after_anna(store: FolderStore, name: str, target: Path) -> None:
        if FolderStore._get is not fetch:
            monkeypatch.setattr(FolderStore, "_get", fetch)
            remove(anna.layout, [], anna.image_ids("train")[:2])
            push(anna.layout, anna.params)
        fetch(store, name, target)

    monkeypatch.setattr("pipeline.operations.pull.THREADS", 1)
    monkeypatch.setattr(FolderStore, "_get", after_anna)
    assert pull(ben.layout, ben.params).version == 3
    require_equal(anna, ben)


def test_a_pull_keeps_what_is_on_its_way_here(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    waiting = ben.layout.published / "models" / "m-0123456789ab" / "model.json"
    waiting.parent.mkdir()
    waiting.write_text("{}")
    add(anna, 12, seed=2)
    push(anna.layout, anna.params)
    pull(ben.layout, ben.params)
    assert waiting.exists()


def test_by_http_a_clone_pulls_and_programs_read(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    with http_server(Path(share)) as url:
        require_equal(anna, pulled(anna, "ben", url))
        rows = query(EXPERIMENT, "SELECT count(*) AS n FROM facet_1 JOIN images USING (image_id)", root=url)
        assert rows["n"].tolist() == [150]


def test_a_damaged_file_is_named(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    store = open_store(share, EXPERIMENT)
    listing = store.current()[1]
    name = next(name for name in listing.files if name.endswith("shard.h5"))
    damaged = Path(store.place) / "blobs" / listing.files[name].name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    ben = clone(anna, "ben")
    with pytest.raises(DataError, match=r"which is data/batches/tiny/b-.*shard\.h5, must have the bytes"):
        pull(ben.layout, ben.params)
    assert not ben.layout.published.exists()
    with pytest.raises(PublishError, match="must hold a published version, got none; run facets pull tiny first"):
        push(ben.layout, ben.params)
    with pytest.raises(DataError, match="must hold a published version, got none; run facets pull tiny first"):
        read(EXPERIMENT, "images", root=ben.root)
    with pytest.raises(DataError, match="got none; run facets pull tiny first"):
        load(EXPERIMENT, root=ben.root)
    with pytest.raises(PublishError, match="to be checked, got none; run facets pull tiny first"):
        check_experiments(ben.root, [EXPERIMENT])
    with pytest.raises(DataError, match=f"got none; see that the address .*: facets push other {share}"):
        read("other", "images", root=share)
    damaged.unlink()  # as the message says
    push(anna.layout, anna.params)
    pull(ben.layout, ben.params)
    require_equal(anna, ben)
    manifest = Path(store.place) / "blobs" / listing.files["published/manifest.json"].name
    for blob in (manifest, Path(paths(EXPERIMENT, "images", root=share)[0])):
        whole = blob.read_bytes()
        for data in (whole[:99] + bytes([whole[99] ^ 1]) + whole[100:], None):
            blob.write_bytes(data) if data else blob.unlink()
            with pytest.raises(DataError, match=f"{blob.name} .*facets push tiny {share} where it is whole") as error:
                read(EXPERIMENT, "images", root=share)
            assert "--repair" not in str(error.value)
        assert push(anna.layout, anna.params).sent == 1


def test_a_damaged_record_is_written_anew_if_told(anna: Tiny, share: str) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    place = Path(share) / "published" / EXPERIMENT
    for data in (b"", (place / "head.json").read_bytes().replace(b"version", b"versiom")):
        (place / "head.json").write_bytes(data)
        told = "head.json must be the head of a share, but is damaged .*facets push tiny --replace"
        for call in (
            lambda: push(anna.layout, anna.params),
            lambda: pull(ben.layout, ben.params),
            lambda: read(EXPERIMENT, "images", root=share),
        ):
            with pytest.raises(DataError, match=told) as error:
                call()
            assert "--repair" not in str(error.value)
        assert push(anna.layout, anna.params, replace=True).is_new
        assert not pull(ben.layout, ben.params).is_new
    head = open_store(share, EXPERIMENT).head()[0]
    assert head is not None
    (place / "blobs" / head.listing).unlink()
    with pytest.raises(DataError, match="lists what is shared, but is missing; push again with --replace"):
        push(anna.layout, anna.params)
    assert push(anna.layout, anna.params, replace=True).is_new
    assert not pull(ben.layout, ben.params).is_new


def test_addresses(anna: Tiny, share: str) -> None:
    with pytest.raises(ConfigError, match="got no ADDRESS; facets push tiny ADDRESS notes it"):
        push(anna.layout, anna.params)
    with pytest.raises(DataError, match=f"must hold what was pushed there, but there is no folder {share}; see that"):
        pull(anna.layout, anna.params, share)
    Path(share).mkdir()
    with pytest.raises(DataError, match="must hold what was pushed there, got nothing; see that"):
        pull(anna.layout, anna.params, share)
    with pytest.raises(ConfigError, match=f"in a folder that exists, got {share}/a/b; make {share}/a first"):
        push(anna.layout, anna.params, f"{share}/a/b")
    with pytest.raises(ConfigError, match=f"must lie outside of the project, got {anna.root}/share; give another"):
        push(anna.layout, anna.params, str(anna.root / "share"))
    assert not list(Path(share).iterdir())
    ben = clone(anna, "ben")
    with pytest.raises(PublishError, match="must hold a published version"):
        push(ben.layout, ben.params, share)
    with pytest.raises(PublishError, match=r"facets pull tiny ADDRESS \(after facets push there\) is due first"):
        require_own_history(ben.layout)


def killed_at(step: int, work: Callable[[], object]) -> int:
    """Run something in a process that kills itself before the n-th of its steps; return how many there are.

    Steps are what changes a share or renames a file; 0 lets it run to the end.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        seen = 0

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def counting(*arguments: object, **options: object) -> object:
                nonlocal seen
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return counting

        for owner, names in ((FolderStore, ("send", "swap", "delete", "_get")), (os, ("replace", "rename", "link"))):
            for name in names:
                setattr(owner, name, counted(getattr(owner, name)))
        work()
        os.write(write_end, str(seen).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        found = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert (status == 0) == (step == 0)
    return int(found or 0)


def recording(send: Callable[..., None], sent: list[str]) -> Callable[..., None]:
    def recorded(store: FolderStore, source: Path, name: str) -> None:
        sent.append(name)
        send(store, source, name)

    return recorded


@pytest.mark.parametrize("n_kills", [3, pytest.param(40, marks=pytest.mark.soak)])
def test_a_push_that_is_killed_at_any_step_is_completed(
    anna: Tiny, share: str, tmp_path: Path, n_kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(anna.layout, anna.params, share)
    before = anna.image_ids()
    add(anna, 12, seed=2)
    remove(anna.layout, [], before[:1])
    after = anna.image_ids()
    trial = anna.copy(tmp_path / "trial" / "anna")
    copied = shutil.copytree(share, tmp_path / "trial" / "share")
    n_steps = killed_at(0, lambda: push(trial.layout, trial.params, str(copied)))
    for number, step in enumerate(np.linspace(2, n_steps, n_kills).astype(int).tolist()):
        folder = tmp_path / str(number)
        tiny, place = anna.copy(folder / "anna"), str(shutil.copytree(share, folder / "share"))
        killed_at(step, lambda tiny=tiny, place=place: push(tiny.layout, tiny.params, place))
        seen = sorted(read(EXPERIMENT, "images", root=place)["image_id"])
        assert seen in (before, after)
        there, sent = open_store(place, EXPERIMENT).sizes().keys(), []
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "send", recording(FolderStore.send, sent))
            push(tiny.layout, tiny.params, place)
        assert len(there & {*sent}) <= 1  # the listing, which is made anew
        require_equal(tiny, pulled(tiny, "ben", place))
        store = open_store(place, EXPERIMENT)
        head, listing, _ = store.current()
        assert head is not None
        assert store.sizes().keys() == {*listing.blobs, head.listing}


@pytest.mark.parametrize("n_kills", [4, pytest.param(40, marks=pytest.mark.soak)])
def test_a_pull_that_is_killed_at_any_step_is_completed(anna: Tiny, share: str, tmp_path: Path, n_kills: int) -> None:
    push(anna.layout, anna.params, share)
    ben = pulled(anna, "ben", share)
    before = ben.image_ids()
    batch_id = add(anna, 12, seed=2)
    remove(anna.layout, [], [before[0], anna.image_ids(batch_id)[0]])
    push(anna.layout, anna.params)
    after = anna.image_ids()
    n_steps = killed_at(0, lambda: pull((trial := ben.copy(tmp_path / "trial")).layout, trial.params))
    for number, step in enumerate(np.linspace(2, n_steps, n_kills).astype(int).tolist()):
        tiny = ben.copy(tmp_path / str(number) / "ben")
        killed_at(step, lambda tiny=tiny: pull(tiny.layout, tiny.params))
        seen = sorted(read(EXPERIMENT, "images", root=tiny.root)["image_id"])
        assert seen in (before, after)
        pull(tiny.layout, tiny.params)
        require_equal(anna, tiny)
        assert not [path.name for path in tiny.layout.batches.iterdir() if path.name.startswith(".")]
        assert push(tiny.layout, tiny.params).is_new is False


@pytest.mark.soak
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_kills_at_ten_random_moments(
    anna: Tiny, share: str, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    address = share if place == "folder" else f"{request.getfixturevalue('bucket')}/kills"
    push(anna.layout, anna.params, address)
    add(anna, 12, seed=2)
    before = read(EXPERIMENT, "images", root=address)["image_id"].tolist()
    after = read(EXPERIMENT, "images", root=anna.root)["image_id"].tolist()
    ben = pulled(anna, "ben", address)
    trial = anna.copy(tmp_path / "trial")
    longest = seconds_of(lambda: push(trial.layout, trial.params, f"{address}-trial"))
    killed = [kill_after(moment, lambda: push(anna.layout, anna.params)) for moment in moments(10, longest, seed=1)]
    assert read(EXPERIMENT, "images", root=address)["image_id"].tolist() in (before, after)
    push(anna.layout, anna.params)
    assert read(EXPERIMENT, "images", root=address)["image_id"].tolist() == after
    trial = ben.copy(tmp_path / "trial-ben")
    longest = seconds_of(lambda: pull(trial.layout, trial.params))
    for number, moment in enumerate(moments(10, longest, seed=2)):
        tiny = ben.copy(tmp_path / f"ben-{number}")
        killed.append(kill_after(moment, lambda tiny=tiny: pull(tiny.layout, tiny.params)))
        assert read(EXPERIMENT, "images", root=tiny.root)["image_id"].tolist() in (before, after)
        pull(tiny.layout, tiny.params)
        require_equal(anna, tiny)
    assert sum(killed) > 10

"""An experiment that goes takes with it what was made for it, and nothing else."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from copy import deepcopy
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import yaml
from PIL import Image

from pipeline.config import load_params
from pipeline.core.errors import BusyError, ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.operations.drop import drop, plan_drop
from pipeline.operations.dvc_locks import keep_lock_file
from pipeline.operations.ingest import ingest
from pipeline.operations.locks import batches_lock, next_in_line, publish_lock, repository_lock, service_lock
from pipeline.operations.name import name_cluster
from pipeline.operations.new import add_experiment
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.repository import STAGES, tiny_experiment

pytestmark = pytest.mark.no_shapes  # the tests of deliveries and assignments check them

OWN = ("published", "data/batches", "data/prepared", "artifacts", ".work")
OTHER = "tiny_2"  # begins like the one that goes


@pytest.fixture(scope="module")
def full_template(tiny_template: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments, of which the first has everything that one can have."""
    tiny = tiny_template.copy(tmp_path_factory.mktemp("drop") / "full")
    root, layout = tiny.root, tiny.layout
    delivery = root / "delivery"
    delivery.mkdir()
    for number, image in enumerate(new_images(3)):
        Image.fromarray(image).save(delivery / f"{number}.png")
    ingest(layout, tiny.params, str(delivery))
    (uid,) = {row["cluster_uid"] for row in tiny.history.rows("clusters")[:1]}
    name_cluster(layout, uid, "bars")
    for path in (layout.joined, layout.removed):
        write_json(path, [])
    (layout.inbox / "done").mkdir(parents=True)
    (layout.inbox / "done" / "mine.png").touch()
    other = Layout(root, OTHER)
    for path in (other.prepared, other.published, other.batches, other.artifact("model"), layout.raw / "mnist"):
        path.mkdir(parents=True)
        (path / "file").write_text("stays")
    for path in (other.names, other.joined, other.work("train", "0") / "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("stays")
    sections = {name: deepcopy(tiny_experiment()) for name in (EXPERIMENT, OTHER)}
    text = yaml.safe_dump({"active": [EXPERIMENT, OTHER], "experiments": sections}, sort_keys=False)
    (root / "params.yaml").write_text(f"# mine\n{text}# the end\n")
    stages = {f"{stage}@{name}": {"cmd": stage} for name in (EXPERIMENT, OTHER) for stage in STAGES}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))
    return root


@pytest.fixture
def full(full_template: Path, tmp_path: Path) -> Path:
    """A copy for one test."""
    return Path(shutil.copytree(full_template, tmp_path / "full"))


def files_of(root: Path) -> dict[str, bytes]:
    """Return all files below a folder, locks, logs and DVC's kept lock file apart."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith((".work/lo", ".work/dvc"))}


def is_own(name: str) -> bool:
    folders = [f"{folder}/{EXPERIMENT}/" for folder in OWN]
    small = [f"data/{kind}/{EXPERIMENT}." for kind in ("sources", "joined", "removed", "history")]
    return name.startswith(
        (*folders, *small, f"names/{EXPERIMENT}.", f"hints/{EXPERIMENT}.", f"hints/{EXPERIMENT}_pairs.")
    )


@pytest.mark.parametrize(("beside", "stays"), [("", False), ("datasets:\n- name: mine\n", True)])
def test_a_lock_without_stages_goes_unless_it_says_more(tmp_path: Path, beside: str, stays: bool) -> None:
    sections = {name: deepcopy(tiny_experiment()) for name in (EXPERIMENT, OTHER)}
    params = {"active": [EXPERIMENT, OTHER], "experiments": sections}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    lock, kept = tmp_path / "dvc.lock", tmp_path / ".work" / "dvc.lock.kept"
    lock.write_text(f"schema: '2.0'\nstages:\n  train@{EXPERIMENT}:\n    cmd: train\n{beside}")
    keep_lock_file(tmp_path)
    drop(tmp_path, EXPERIMENT)
    assert (lock.exists(), kept.exists()) == (stays, stays)


def test_first_it_is_shown_and_nothing_changes(full: Path) -> None:
    before = files_of(full)
    plan = plan_drop(full, EXPERIMENT)
    assert files_of(full) == before
    assert [part.path for part in plan.parts[:2]] == ["params.yaml", "dvc.lock"]
    holds = {part.path: part.holds for part in plan.parts}
    assert holds["params.yaml"] == "its section, and its place in active"
    assert holds["dvc.lock"] == f"{len(STAGES)} stages"
    assert holds[f"data/batches/{EXPERIMENT}"] == "1 ingested batch"
    assert holds[f"data/prepared/{EXPERIMENT}"] == "120 images at model size"
    assert holds[f"published/{EXPERIMENT}"] == "2 versions, the newest of 123 images"
    own = {name: len(data) for name, data in before.items() if is_own(name)}
    assert sum(part.n_bytes for part in plan.parts) == sum(own.values())
    assert all(any(name.startswith(path) for path in holds) for name in own)
    assert plan.stays[0] == "data/own/images.npz: your images"
    assert plan.stays[1] == f"data/inbox/{EXPERIMENT}: 1 file delivered there"


def test_what_was_made_for_it_goes_and_all_else_stays_byte_for_byte(full: Path) -> None:
    before, params = files_of(full), load_params(full)
    text = (full / "params.yaml").read_text()
    plan = plan_drop(full, EXPERIMENT)
    assert drop(full, EXPERIMENT) == plan
    after = files_of(full)
    changed = {"params.yaml", "dvc.lock"}
    assert after.keys() == {name for name in before if not is_own(name)}
    assert {name for name in after if after[name] != before[name]} == changed
    assert [path for path in full.rglob("*") if path.name.startswith((EXPERIMENT + ".", f".{EXPERIMENT}."))] == []
    assert list(full.rglob(EXPERIMENT)) == [full / "data" / "inbox" / EXPERIMENT]
    assert load_params(full).experiments == {OTHER: params.experiment(OTHER)}
    left = (full / "params.yaml").read_text()
    assert left.startswith(f"# mine\nactive:\n- {OTHER}\nexperiments:\n  {OTHER}:\n")
    assert left.endswith("# the end\n")
    assert left.split(f"  {OTHER}:\n")[1] == text.split(f"  {OTHER}:\n")[1]
    assert set(yaml.safe_load((full / "dvc.lock").read_text())["stages"]) == {f"{stage}@{OTHER}" for stage in STAGES}
    (entry,) = [json.loads(line) for line in (full / ".work/logs/runs.jsonl").read_text().splitlines()][-1:]
    assert (entry["operation"], entry["experiment"]) == ("drop", EXPERIMENT)
    with pytest.raises(ConfigError, match=r"'tiny' is unknown, and nothing of it lies here; params\.yaml has tiny_2"):
        drop(full, EXPERIMENT)
    found = add_experiment(full, EXPERIMENT, str(enough(full / "pictures")))
    assert found.active == [OTHER, EXPERIMENT]


def enough(folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(new_images(24)):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Work in a process that is killed at its change of that number to names on the disk; tell whether it was."""
    pid = os.fork()
    if pid == 0:
        changes = count()

        def watch(event: str, _: object) -> None:
            if event in ("os.rename", "os.remove", "os.rmdir") and next(changes) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("steps", [[0, 3, 6, 9, 40], pytest.param(range(10_000), marks=pytest.mark.soak)], ids=str)
def test_cut_off_at_any_step_it_is_completed_by_another_one(full: Path, tmp_path: Path, steps: Iterable[int]) -> None:
    expected = {name: data for name, data in files_of(full).items() if not is_own(name)}
    del expected["params.yaml"], expected["dvc.lock"]
    for step in steps:
        root = Path(shutil.copytree(full, tmp_path / "copy"))
        if not killed_at(step, partial(drop, root, EXPERIMENT)):
            assert step > 40
            return
        load_params(root)  # legal at every moment
        try:
            drop(root, EXPERIMENT)
        except ConfigError as error:
            assert "nothing of it lies here" in str(error)  # noqa: PT017 - it may have been all but done
        after = files_of(root)
        assert set(load_params(root).experiments) == {OTHER}
        assert set(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) == {f"{s}@{OTHER}" for s in STAGES}
        # Half a file beside a whole one is there until facets tidy, whichever command was killed.
        beside = ("params.yaml", "dvc.lock", ".params.yaml.", ".dvc.lock.", ".work/.dvc.lock.kept.")
        assert {name: data for name, data in after.items() if not name.startswith(beside)} == expected
        shutil.rmtree(root)


LOCKS: dict[str, Callable[[Layout], AbstractContextManager[object]]] = {
    "the repository": lambda layout: repository_lock(layout.root, "rebuild"),
    "the batches of tiny": lambda layout: batches_lock(layout, "ingest"),
    "what tiny publishes": lambda layout: publish_lock(layout, "publish"),
    "the next rebuild of tiny": next_in_line,
    "the schedules of this repository": lambda layout: service_lock(layout.root),
}


@pytest.mark.parametrize("subject", LOCKS)
def test_while_somebody_works_on_it_it_stays(full: Path, subject: str) -> None:
    before = files_of(full)
    with ExitStack() as stack, ThreadPoolExecutor(1) as elsewhere:  # what a thread may take depends on what it holds
        elsewhere.submit(stack.enter_context, LOCKS[subject](Layout(full, EXPERIMENT))).result()
        with pytest.raises(BusyError, match=f"may change {subject}, but pid"):
            drop(full, EXPERIMENT)
        elsewhere.submit(stack.close).result()
    assert files_of(full) == before


@pytest.mark.parametrize("part", ["published", "data/batches", "artifacts", ".work", "names", "dvc.lock", "rest"])
def test_parts_of_one_go_that_is_in_no_file_any_more(full: Path, part: str) -> None:
    drop(full, EXPERIMENT)
    before = files_of(full)
    places = {
        "names": f"names/{EXPERIMENT}.csv",
        "rest": f"data/prepared/.{EXPERIMENT}.0123abcd.tmp/train.h5",
        **{folder: f"{folder}/{EXPERIMENT}/file" for folder in OWN},
    }
    if part == "dvc.lock":
        lock = (full / part).read_text()
        (full / part).write_text(lock + f"  train@{EXPERIMENT}:\n    cmd: train\n")
    else:
        (full / places[part]).parent.mkdir(parents=True, exist_ok=True)
        (full / places[part]).write_text("left")
    assert len(drop(full, EXPERIMENT).parts) == 1
    assert files_of(full) == before


def test_images_that_lie_in_its_folders_are_nobodys_to_delete(full: Path) -> None:
    before = files_of(full)
    text = (full / "params.yaml").read_text()
    inside = f"data/batches/{EXPERIMENT}/b-1"
    (full / "params.yaml").write_text(text.replace("path: data/own/images.npz", f"path: {inside}/x.npz"))
    with pytest.raises(
        ConfigError, match=rf"the images of tiny must not lie in \S+/data/batches/tiny, .* got {inside}"
    ):
        drop(full, EXPERIMENT)
    (full / "params.yaml").write_text(text)
    assert files_of(full) == before


def test_of_a_link_the_link_goes(full: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    (full / "data" / "prepared" / EXPERIMENT).rename(large)
    (full / "data" / "prepared" / EXPERIMENT).symlink_to(large)
    before = files_of(large)
    plan = drop(full, EXPERIMENT)
    assert f"a link; what it leads to, {large}, stays" in [part.holds for part in plan.parts]
    assert files_of(large) == before
    assert not (full / "data" / "prepared" / EXPERIMENT).is_symlink()


def test_the_last_active_one_and_one_that_others_need_stay(full: Path) -> None:
    path = full / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace(f"- {OTHER}\n", ""))
    with pytest.raises(ConfigError, match=r"active in params\.yaml must name an experiment besides tiny"):
        drop(full, EXPERIMENT)
    shared = yaml.safe_dump(tiny_experiment(), default_flow_style=True, width=10**6).strip()
    path.write_text(f"active: [{OTHER}]\nexperiments:\n  {EXPERIMENT}: &all {shared}\n  {OTHER}: *all\n")
    before = files_of(full)
    with pytest.raises(ConfigError, match=r"must not need the section of tiny, but share values with it by an anchor"):
        drop(full, EXPERIMENT)
    assert files_of(full) == before
    path.write_text(text)
    (full / "dvc.lock").write_text("stages: [")
    with pytest.raises(DataError, match=r"dvc\.lock must be as DVC wrote it"):
        drop(full, EXPERIMENT)
    assert path.read_text() == text


def test_one_called_as_a_folder_of_all_leaves_that_folder(full: Path) -> None:
    text = (full / "params.yaml").read_text()
    (full / "params.yaml").write_text(text.replace(f"  {EXPERIMENT}:\n", "  logs:\n").replace(f"- {EXPERIMENT}\n", ""))
    (full / "data" / "prepared" / "logs").mkdir()
    log = (full / ".work" / "logs" / "runs.jsonl").read_text()
    assert [part.path for part in drop(full, "logs").parts] == ["params.yaml", "data/prepared/logs"]
    assert (full / ".work" / "logs" / "runs.jsonl").read_text().startswith(log)

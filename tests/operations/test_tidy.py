"""What tidy deletes, and what it must not."""

import subprocess
import sys
from pathlib import Path

from pipeline.core.layout import Layout
from pipeline.operations.locks import repository_lock
from pipeline.operations.tidy import collect_garbage, tidy
from tests.operations.mini import dvc, mini_repository
from tests.repository import EXPERIMENT, PROJECT, Repository


def run(root: Path, *command: str) -> str:
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def write_input(root: Path, text: str) -> None:
    (root / "input").write_text(text)


def commit(root: Path, message: str) -> None:
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "--quiet", "--message", message)


def test_what_branches_tags_and_experiments_need_stays_in_the_cache(tmp_path: Path) -> None:
    """A training of days, made on a branch that nobody has checked out just now."""
    root = mini_repository(tmp_path / "r", {"a": "cp input out-a"})
    scripts = Path(sys.executable).parent
    write_input(root, "for nothing")
    dvc(root, ["repro"])
    for text, keep in (("on a branch", "branch"), ("at a tag", "tag"), ("here", None)):
        write_input(root, text)
        dvc(root, ["repro"])
        commit(root, text)
        if keep:
            run(root, "git", keep, f"kept-{keep}")
    write_input(root, "in an experiment")
    run(root, str(scripts / "dvc"), "exp", "run", "--name", "kept-exp")
    write_input(root, "here")
    dvc(root, ["repro"])
    with repository_lock(root, "tidy") as held:
        collect_garbage(root, held)
    found = {path.read_text() for path in (root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}
    assert found == {"on a branch", "at a tag", "in an experiment", "here"}
    run(root, "git", "checkout", "--quiet", "--force", "kept-branch")
    run(root, str(scripts / "dvc"), "checkout")
    assert (root / "out-a").read_text() == "on a branch"


def test_once_after_a_removal_everything_goes_that_may_hold_what_was_removed(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": "cp input out-a"})
    removed = root / "data" / "removed" / "x.json"
    removed.parent.mkdir(parents=True)
    removed.write_text('["i-0123456789abcdef"]')
    gone: list[bool] = []
    for number in range(2):
        write_input(root, f"{number} committed")
        dvc(root, ["repro"])
        commit(root, str(number))
        write_input(root, f"{number} now")
        dvc(root, ["repro"])
        with repository_lock(root, "tidy") as held:
            gone.append(collect_garbage(root, held))
        found = {path.read_text() for path in (root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}
        assert found == {f"{number} now"} | (set() if gone[-1] else {f"{number} committed"})
    assert gone == [True, False]


WRITER = """
import sys, time
from pathlib import Path
from pipeline.core.storage import atomic_dir, atomic_file
with atomic_file(Path(sys.argv[1])) as file, atomic_dir(Path(sys.argv[2])) as folder:
    print("writing", flush=True)
    time.sleep(100)
"""


def start_writing(*paths: Path) -> subprocess.Popen[str]:
    """Start a process that writes a file and a folder for a long time."""
    command = [sys.executable, "-c", WRITER, *map(str, paths)]
    writer = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def test_what_killed_writers_left_goes_and_what_living_ones_write_stays(repository: Repository) -> None:
    root, layout = repository.root, Layout(repository.root, EXPERIMENT)
    foreign = [root / "data" / "own" / ".mine.tmp", layout.inbox / "a" / ".b.png.tmp"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pairs = (
        (root / "dvc.lock", layout.prepared),
        (layout.published / "page.json", layout.batches / "b-1"),
        (layout.joined, layout.artifact("model")),
        (layout.names, layout.published),
    )
    for pair in pairs:
        with start_writing(*pair) as writer:
            writer.kill()
    with start_writing(layout.published / "manifest.json", layout.artifact("score")) as writer:
        result = tidy(root, EXPERIMENT)
        stays = {
            path.name.rpartition(".")[0].rpartition(".")[0] for path in root.rglob(".*.tmp") if path not in foreign
        }
        writer.kill()
    assert len(result.leftovers) == 2 * len(pairs) - 1  # that of the batches went with unfinished shards
    assert stays == {".manifest.json", ".score"}
    assert all(path.exists() for path in foreign)
    assert repository.facets("check").returncode == 0

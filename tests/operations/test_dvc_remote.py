"""A remote of DVC, as the locked release has it: what one clone pushes another pulls."""

import subprocess
from pathlib import Path

import pytest

from tests.operations.mini import dvc, mini_repository
from tests.sharing.servers import s3_server


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_what_was_pushed_is_pulled_by_a_clone(tmp_path: Path, place: str) -> None:
    if place == "folder":
        push_and_pull(tmp_path, str(tmp_path / "remote"))
    else:
        with s3_server() as address:
            push_and_pull(tmp_path, address)


def push_and_pull(folder: Path, url: str) -> None:
    root = mini_repository(folder / "first", {"a": "mkdir out-a && seq 1 1000 > out-a/numbers && cp input out-a"})
    config = root / ".dvc" / "config"
    section = f"remote = shared\n['remote \"shared\"']\nurl = {url}\n[cache]"
    config.write_text(config.read_text().replace("[cache]", section))
    dvc(root, ["repro"])
    dvc(root, ["push"])
    clone = folder / "second"
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "all"], cwd=root, check=True)
    subprocess.run(["git", "clone", "--quiet", root, clone], check=True)
    assert not (clone / "out-a").exists()
    dvc(clone, ["pull"])
    for name in ("numbers", "input"):
        assert (clone / "out-a" / name).read_bytes() == (root / "out-a" / name).read_bytes()

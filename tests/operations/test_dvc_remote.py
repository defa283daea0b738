"""A remote of DVC, as the locked release has it: what one clone pushes another pulls."""

import subprocess
from pathlib import Path

from tests.operations.mini import dvc, mini_repository


def test_what_was_pushed_is_pulled_by_a_clone(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "first", {"a": "mkdir out-a && seq 1 1000 > out-a/numbers && cp input out-a"})
    config = root / ".dvc" / "config"
    section = f"remote = shared\n['remote \"shared\"']\nurl = {tmp_path / 'remote'}\n[cache]"
    config.write_text(config.read_text().replace("[cache]", section))
    dvc(root, ["repro"])
    dvc(root, ["push"])
    clone = tmp_path / "second"
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "all"], cwd=root, check=True)
    subprocess.run(["git", "clone", "--quiet", root, clone], check=True)
    assert not (clone / "out-a").exists()
    dvc(clone, ["pull"])
    for name in ("numbers", "input"):
        assert (clone / "out-a" / name).read_bytes() == (root / "out-a" / name).read_bytes()

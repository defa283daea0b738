"""Repositories as earlier releases left them: one archive a release in ``tests/fixtures``."""

import tarfile
from pathlib import Path

from pipeline.operations.upgrade import plan_upgrade, write_changes
from tests.operations.tiny import Tiny
from tests.repository import PROJECT

RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in (PROJECT / "tests" / "fixtures").glob("*.tar.xz"))


def unpack(release: str, root: Path) -> Tiny:
    """Return the experiment of a release, with nothing of today's but what ``facets upgrade`` writes."""
    with tarfile.open(PROJECT / "tests" / "fixtures" / f"{release}.tar.xz") as archive:
        archive.extractall(root, filter="data")
    write_changes(root, plan_upgrade(root))
    return Tiny(root)

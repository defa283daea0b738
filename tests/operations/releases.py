"""Repositories as earlier releases left them: one archive a release in ``tests/fixtures``."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.operations.tiny import EXPERIMENT, Tiny
from tests.repository import PROJECT

RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in (PROJECT / "tests" / "fixtures").glob("*.tar.xz"))


def _as_the_changelog_says(params: dict[str, Any]) -> None:
    del params["train"]["criterion"]
    params["train"]["hints"] = {"weight": 50.0, "images": 96}
    params["model"]["covariance"] = [params["model"]["covariance"]] * len(params["model"]["latent_dims"])
    params["train"] |= {"ignores": None, "view_weight": 0.0}
    params["assign"]["assigner"] = "exact"
    params["preprocess"] |= {"include": None, "exclude": None, "brightest": None, "follow_links": False}


EDITS: dict[str, Callable[[dict[str, Any]], None]] = {"d68c56e": _as_the_changelog_says}
"""What people have to change in ``params.yaml``, their own file, when they update: CHANGELOG.md says it."""


def unpack(release: str, root: Path) -> Tiny:
    """Return the experiment of a release, with nothing of today's but what people changed in ``params.yaml``."""
    with tarfile.open(PROJECT / "tests" / "fixtures" / f"{release}.tar.xz") as archive:
        archive.extractall(root, filter="data")
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    EDITS.get(release, lambda _: None)(params["experiments"][EXPERIMENT])
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return Tiny(root)

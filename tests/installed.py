"""The wheel, built and installed as pip does it, in an environment of its own beside the packages of the tests'."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.repository import PROJECT

_SOURCE = (
    *("pipeline", "stages", "bin", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"),
    *("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots"),
)
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
_PROGRAMS = ("sh", "ps")
"""What a machine has on which neither git nor make was ever installed."""


@dataclass(frozen=True)
class Installed:
    """An environment with the package, and how commands of it are run.

    Attributes:
        prefix: of the environment.
        path: folder with the few programs that there are besides.
    """

    prefix: Path
    path: Path

    @classmethod
    def create(cls, root: Path) -> "Installed":
        """Build the wheel of this source and install it."""
        source, wheels, prefix = root / "source", root / "wheels", root / "env"
        for name in _SOURCE:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (PROJECT / name).is_dir():
                shutil.copytree(
                    PROJECT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy2(PROJECT / name, source / name)
        wheels.mkdir()
        subprocess.run([sys.executable, "-c", _BUILD, wheels], cwd=source, capture_output=True, check=True)
        venv.create(prefix, symlinks=True)
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-deps"]
        subprocess.run([*uv, "--python", prefix / "bin" / "python", *wheels.glob("*.whl")], check=True)
        # As a path alone: the editable installation there, of this very source, is not taken along.
        (packages,) = prefix.glob("lib/python*/site-packages")
        (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        dvc = prefix / "bin" / "dvc"
        dvc.write_text(f"#!{prefix}/bin/python\nfrom dvc.cli import main\nraise SystemExit(main())\n")
        dvc.chmod(0o755)
        (root / "bin").mkdir()
        for name in filter(shutil.which, _PROGRAMS):
            (root / "bin" / name).symlink_to(str(shutil.which(name)))
        return cls(prefix, root / "bin")

    def run(self, folder: Path, program: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, which is not activated, in a folder."""
        environment = {**os.environ, "PATH": path or str(self.path), "DVC_NO_ANALYTICS": "1"}
        environment["DVC_SITE_CACHE_DIR"] = str(self.prefix / "site-cache")
        return subprocess.run(
            [self.prefix / "bin" / program, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

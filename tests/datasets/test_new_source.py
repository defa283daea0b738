"""A new source is one file and one line: parameters, proposals, preparation, deliveries and the inbox know it then."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.readers.base import OwnSource, Source
from tests.examples import bits
from tests.repository import PROJECT

LINE = '    "bits": SourceKind("bits.Bits", (".bits",)),\n'

_USE = """
import json
from pathlib import Path

from pipeline.config import load_params
from pipeline.core.errors import ConfigError
from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.store.images import ImageStore
from pipeline.operations.inbox import InboxWatch
from pipeline.operations.new import add_experiment
from pipeline.operations.scan import scan_source
from stages import preprocess

root = Path.cwd()
add_experiment(root, "own", str(root / "x.bits"))
layout, params = Layout(root, "own"), load_params(root).experiment("own")
scan_source(layout, params.preprocess)
preprocess.run(layout, params)
n_prepared = 0
for split in ("train", "test"):
    with ImageStore(layout.prepared / f"{split}.h5") as store:
        n_prepared += store.n_images
layout.inbox.mkdir(parents=True)
(layout.inbox / "x.bits").write_bytes((root / "x.bits").read_bytes())
watch = InboxWatch(layout, 1.0)
watch.complete(0.0)
(delivery,) = watch.complete(1.0)
nothing = ContentSet.of_ids([])
transform = ImageTransform.from_params(params.preprocess)
shard = write_shard(
    layout, open_delivery(layout, params.preprocess, str(delivery), 1), transform,
    known=nothing, removed=nothing, created="2026-01-02",
)
text = (root / "params.yaml").read_text()
(root / "params.yaml").write_text(text.replace("source: digits", "source: bots", 1))
try:
    load_params(root)
except ConfigError as error:
    message = str(error)
print(json.dumps([params.preprocess.source, n_prepared, delivery.name, shard.n_images, message]))
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of the library with the example, and images for it."""
    for name in ("pipeline", "stages"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(PROJECT / "params.yaml", tmp_path / "params.yaml")
    shutil.copyfile(str(bits.__file__), tmp_path / "pipeline" / "datasets" / "readers" / "bits.py")
    table = tmp_path / "pipeline" / "config" / "sources.py"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("SOURCES = {\n", "SOURCES = {\n" + LINE), encoding="utf-8")
    drawn = np.random.default_rng(0).integers(0, 2, (40, 64))
    (tmp_path / "x.bits").write_text("".join("".join(map(str, line)) + "\n" for line in drawn))
    return tmp_path


def test_a_new_source_is_one_file_and_one_line(library: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _USE], cwd=library, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    source, n_prepared, delivery, n_delivered, message = json.loads(done.stdout.splitlines()[-1])
    assert (source, n_prepared, delivery, n_delivered) == ("bits", 40, "x.bits", 40)
    assert "preprocess.source must be one of bits, digits, mnist" in message


def test_the_example_has_the_interface() -> None:
    assert issubclass(bits.Bits, Source)
    assert issubclass(bits.Bits, OwnSource)

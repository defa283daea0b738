"""Put on PYTHONPATH by the tests: every stage notes at its end which modules of the library it has loaded."""

import atexit
import json
import os
import sys
from pathlib import Path


def _note() -> None:
    stage = Path(sys.argv[0])
    if stage.parent.name == "stages":
        loaded = sorted(name for name in sys.modules if name.startswith("pipeline."))
        folder = Path(".work", "imports")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stage.stem}.json").write_text(json.dumps(loaded))


if "pipeline.stages._server" in sys.orig_argv:
    os._exit(0)  # it would load for one stage what others need; without it each is a process of its own
atexit.register(_note)

"""One thin module per DVC stage: read parameters, call the library, write the declared outputs."""

import gc
import sys
from importlib.util import find_spec

if sys.argv[:1] == ["-m"]:  # Python is looking for the stage that it will run
    if find_spec("torch") is None:
        print(
            f"stages need facet-pipeline[train], but {sys.executable} lacks torch; run pip install "
            "'facet-pipeline[train]' (in the repository make repro), or activate the environment that has it",
            file=sys.stderr,
        )
        sys.exit(7)
    # Loading libraries makes half a million objects and no garbage; looking for it takes a seventh of a stage's start.
    gc.disable()  # until stage_main

"""One thin module per DVC stage: read parameters, call the library, write the declared outputs."""

import gc
import sys

if sys.argv[:1] == ["-m"]:  # Python is looking for the stage that it will run
    # Loading libraries makes half a million objects and no garbage; looking for it takes a seventh of a stage's start.
    gc.disable()  # until stage_main

"""What every stage does around its own work: its experiment, its parameters, its errors, its end."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pipeline.config import load_sections
from pipeline.config.stage_code import require_code_hash
from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.layout import Layout
from pipeline.core.memory import as_out_of_memory
from pipeline.core.storage import require_free_space
from pipeline.core.supervision import end_with_supervisor

Body = Callable[[Layout, Any], None]

_FREE_BYTES = 64 * 2**20
_TERMINATED = 128 + signal.SIGTERM


def stage_main(body: Body, sections: tuple[str, ...]) -> NoReturn:
    """Run a stage as ``python -m pipeline.stages.<stage> EXPERIMENT`` in the repository's root, then exit.

    Args:
        body: the stage's work. Gets the paths of the experiment and a namespace of its parameter sections.
        sections: the sections of the experiment that the stage reads, exactly as declared in dvc.yaml.

    A deliberate error becomes one line on standard error and its exit code; any other keeps its traceback.
    """
    gc.freeze()  # what was loaded stays, and is never looked at again
    gc.enable()
    stage = Path(sys.argv[0]).stem
    signal.signal(signal.SIGTERM, _exit_cleanly)
    end_with_supervisor()
    try:
        experiment = _experiment(stage, sys.argv[1:])
        root = Path.cwd()
        require_code_hash(root, stage)
        params = load_sections(root, experiment, sections)
        require_free_space(root, _FREE_BYTES)
        with as_out_of_memory(f"stage {stage} of {experiment}"):
            body(Layout(root, experiment), params)
    except PipelineError as error:
        print(f"{stage}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _end_at_once(128 + signal.SIGINT)
    except SystemExit as end:
        _end_at_once(int(end.code or 0))
    sys.exit(0)


def _experiment(stage: str, arguments: list[str]) -> str:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfigError(
            f"a stage takes the name of one experiment, got {' '.join(arguments) or 'nothing'}; "
            f"run python -m pipeline.stages.{stage} EXPERIMENT"
        )
    return arguments[0]


def _end_at_once(code: int) -> NoReturn:
    """End without the interpreter's own end, which aborts where other threads are computing."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exit_cleanly(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(_TERMINATED)  # as an exception, so that temporary files are removed and worker processes ended

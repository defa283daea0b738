"""How long commands take before they do anything, beside the interpreter with what they cannot do without."""

import subprocess
import sys
from pathlib import Path

from benchmarks.lines import Line, Side, compare, report

_ROOT = Path(__file__).parents[1]


def measure(full: bool) -> list[Line]:
    """Time the command line and the stages."""
    rounds = 15 if full else 7
    facets = str(Path(sys.executable).with_name("facets"))
    return [
        compare("facets --help", _call(facets, "--help"), _python("import typer"), "importing typer", rounds=rounds),
        compare(
            "pipeline.tables, imported",
            _python("from pipeline.tables import read"),
            _python("import pyarrow.parquet"),
            "importing pyarrow.parquet",
            rounds=rounds,
        ),
        compare(
            "stage assign, before its work",
            _python("import pipeline.stages.assign, pipeline.assignment.assign"),
            _python("import torch, h5py, pyarrow.parquet"),
            "importing torch, h5py, pyarrow",
            rounds=rounds,
        ),
        compare(
            "our Adam, imported and built",
            _python(
                "import torch; from pipeline.training.adam import Adam; Adam([[torch.nn.Parameter()]], (0.9, 0.999))"
            ),
            _python("import torch; torch.optim.Adam([torch.nn.Parameter()], fused=True)"),
            "torch.optim.Adam",
            rounds=rounds,
        ),
    ]


def _python(code: str) -> Side:
    return _call(sys.executable, "-c", code)


def _call(*command: str) -> Side:
    def run() -> None:
        subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)

    return run


if __name__ == "__main__":
    report(measure)

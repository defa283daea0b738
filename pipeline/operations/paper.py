"""The paper's tables and figures, from experiments whose stages have run."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config import load_params
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.paper import SAMPLES, paper_results, write_paper, write_paper_figures


def make_paper(root: Path, experiments: Sequence[str], n_samples: int | None = None) -> list[Path]:
    """Write ``paper/`` anew: results of every experiment, tables over all of them, figures.

    Args:
        root: the repository.
        experiments: names, in the order of the tables' rows.
        n_samples: generated images of table 7; by default as many as in the paper.

    Returns:
        All files written.

    Raises:
        ConfigError: a parameter breaks a rule, an experiment is unknown or named twice.
        DataError: an experiment's stages have not run, or an output is damaged.
        ModelError: a model is damaged.
        ResourceError: the folder cannot be written.
    """
    params = load_params(root)
    if len(set(experiments)) != len(experiments):
        raise ConfigError(f"every experiment may be named once, got {' '.join(experiments)}")
    sections = {name: params.experiment(name) for name in experiments}
    layouts = {name: Layout(root, name) for name in experiments}
    for name, layout in layouts.items():
        if not (layout.artifact("score") / "metrics.json").exists():
            raise DataError(f"{name} must have a trained and scored model, got none; run facets rebuild {name}")
    results = [
        paper_results(layout, sections[name].report.temperature, n_samples or SAMPLES)
        for name, layout in layouts.items()
    ]
    folder = root / "paper"
    write_paper(results, folder)
    write_paper_figures(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())

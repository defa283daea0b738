"""Whether parameters and published tables are right."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config import load_params
from pipeline.errors import PublishError
from pipeline.layout import Layout
from pipeline.tables import History


def check_experiments(root: Path, experiments: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Return the problems of experiments' published tables, after all parameters were found legal.

    Args:
        root: the repository.
        experiments: which; by default all that have published.

    Raises:
        ConfigError: a parameter breaks a rule, or an experiment is unknown.
        PublishError: an experiment asked for has published nothing.
    """
    params = load_params(root)
    histories = {name: History(Layout(root, name).published) for name in experiments or params.experiments}
    problems: dict[str, list[str]] = {}
    for name, history in histories.items():
        params.experiment(name)
        if history.current() is not None:
            problems[name] = history.check()
        elif experiments:
            raise PublishError(
                f"{name} must have a published version to be checked, got none; run facets rebuild {name}"
            )
    return problems

"""Parameters that the ids of published images depend on: they stay as they are for the life of an experiment."""

from contextlib import suppress

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.upgrades import PARAMETERS, Record, read_record
from pipeline.tables import History


def require_fixed_params(layout: Layout, params: PreprocessParams) -> None:
    """Refuse another ``preprocess.brightest`` than that of the model in service.

    The same files would get other ids: removed images would come back, delivered ones be taken twice, and clusters
    lose theirs. Batches keep 8 bits, so they cannot follow either.

    Args:
        layout: of the experiment.
        params: its section ``preprocess``.

    Raises:
        ConfigError: it differs.
    """
    history = History(layout.published)
    if history.current() is None:
        return
    section: Record | None = None
    with suppress(DataError):  # a damaged file is written anew by what this is asked for
        section = read_record(history.model_folder() / "params.json", PARAMETERS).get("preprocess")
    if section is not None and section["brightest"] != params.brightest:
        found, kept = ("null" if value is None else value for value in (params.brightest, section["brightest"]))
        raise ConfigError(
            f"preprocess.brightest of {layout.experiment} must stay {kept}, as the ids of what is published depend on "
            f"it, got {found}; put it back, or make another experiment with facets new"
        )

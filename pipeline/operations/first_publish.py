"""Ids of clusters are minted once in the life of an experiment: at the first publish, in one place.

``published/`` is in no git repository, so a clone of the project has none and would mint other ids for the same
clusters. What git does carry tells it: where the experiment is shared, a record written at the first publish, batches
that joined the training, images that were removed, names of clusters.
"""

from pipeline.core.errors import PublishError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.tables import History
from pipeline.tables.names import has_names
from pipeline.tables.versions import Version


def require_own_history(layout: Layout) -> None:
    """Refuse to begin a history where tracked files tell of one that lies elsewhere.

    Raises:
        PublishError: there is such a file, and nothing is published here.
    """
    if History(layout.published).current() is not None:
        return
    signs = signs_of_a_history(layout)
    if signs:
        name = layout.experiment
        address = "" if layout.shared.exists() else " ADDRESS (after facets push there)"
        raise PublishError(
            f"{name} was published elsewhere, as {signs[0]} tells, and its cluster ids are made only once; nothing is "
            f"published here: facets pull {name}{address} is due first, or begin a history of your own, with other "
            f"ids, by facets rebuild {name} --new-history"
        )


def record_history(layout: Layout, served: Version) -> None:
    """Write the tracked record that a history of this experiment exists, and with which version it was first seen."""
    record = {"version": served.version, "model_version": served.model_version, "created": served.created}
    write_json(layout.history, record)


def signs_of_a_history(layout: Layout) -> list[str]:
    """Return the tracked files that only a published history leaves, as paths in the repository."""
    signs = [
        layout.shared.exists() and layout.shared,
        layout.history.exists() and layout.history,
        layout.joined.exists() and read_id_list(layout.joined) and layout.joined,
        layout.removed.exists() and read_id_list(layout.removed) and layout.removed,
        has_names(layout.names) and layout.names,
    ]
    return [str(path.relative_to(layout.root)) for path in signs if path]

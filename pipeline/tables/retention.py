"""Old versions leave, and with them every file and model that only they needed."""

from pathlib import Path

from pipeline.tables.draft import load_identity
from pipeline.tables.lists import files_of
from pipeline.tables.place import Place
from pipeline.tables.transaction import plan, step
from pipeline.tables.versions import Version, load_history, version_file


def prune(published: Path, keep: int, trained: str | None) -> dict[int, str | None]:
    """Delete all but the newest versions. Callers hold the lock.

    Args:
        published: folder of the experiment.
        keep: how many readable versions stay; the current one always does.
        trained: the model trained last, which may be on its way to be published; None where nobody can tell, and then
            no model leaves that was never published.

    Returns:
        The versions deleted: number to why it could not be read any more; None for one that only was too old.
    """
    with step(published) as folder:
        history = load_history(published)
        readable = [version for version in history if version.withdrawn is None][:keep]
        if not readable:
            return {}
        kept = [version for version in history if version.version >= readable[-1].version]
        dropped = history[len(kept) :]
        place = Place(published)
        obsolete = files_of(place, dropped) - files_of(place, kept)
        obsolete |= {version_file(version.version) for version in dropped}
        obsolete |= _unused_models(published, kept, trained)
        if obsolete:
            plan(folder, history[0].version, obsolete=obsolete)
    return {version.version: version.withdrawn for version in dropped}


def _unused_models(published: Path, kept: list[Version], trained: str | None) -> set[str]:
    """Return the folders of models that no kept version needs: once published, or refused and followed by another.

    Which one came last no time of a file can tell: clocks are set back.
    """
    once_published = load_identity(Place(published), kept[0]).maps
    models = {folder.name for folder in (published / "models").glob("m-*")}
    waiting = {model for model in models if model not in once_published and trained in (None, model)}
    needed = {version.model_version for version in kept} | waiting
    return {f"models/{model}" for model in models - needed}

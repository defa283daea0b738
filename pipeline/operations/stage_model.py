"""A trained model and its assignments move out of DVC's reach, to where the model in service lives."""

import filecmp
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from pipeline.config.sections import Experiment
from pipeline.datasets.prepare import read_id_list
from pipeline.errors import DataError, PublishError
from pipeline.layout import Layout
from pipeline.operations.page import erase_pictures
from pipeline.storage import atomic_dir, read_json, require_free_space, temporary_dir, write_json
from pipeline.tables import History

_PARAMS = "params.json"


def stage_model(layout: Layout, experiment: Experiment) -> str:
    """Copy what a model in service needs to ``published/<exp>/models/<model_version>/`` and return its version.

    The caller holds the repository lock, so that no stage replaces files meanwhile; publishing works from the copy.
    Where the file system can, files are linked, so staging costs no space and little time.

    Raises:
        DataError: an output of a stage is missing.
        PublishError: the model belongs to another experiment.
        ResourceError: the disk is full.
    """
    files = _files(layout)
    model = read_json(files["model.json"])
    if model["experiment"] != layout.experiment:
        raise PublishError(
            f"a model is published under its own experiment {layout.experiment}, got one of {model['experiment']} in "
            f"{layout.artifact('model')}; run facets rebuild {layout.experiment}"
        )
    require_free_space(layout.published, sum(path.stat().st_size for path in files.values()))
    target = layout.published / "models" / model["model_version"]
    if target.exists():
        _update(target, files)
    else:
        with atomic_dir(target) as folder:
            _update(folder, files)
    # Later batches are brought to the model's size as its training images were, whatever params.yaml says by then.
    write_json(target / _PARAMS, asdict(experiment))
    removed = frozenset(read_id_list(layout.removed))
    if removed:
        History(layout.published).purge_models(removed)
        erase_pictures([target / "report"], removed)
    return model["model_version"]


def _files(layout: Layout) -> dict[str, Path]:
    """Return what to stage: path below the model's folder to the file now."""
    model, prepared = layout.artifact("model"), layout.prepared
    selected = read_json(model / "model.json")["selected_seed"]
    files = {name: model / name for name in ("model.json", "clusters.json", "history.csv")}
    files[f"seed-{selected}.safetensors"] = model / f"seed-{selected}.safetensors"
    files |= {f"prepared/{name}": prepared / name for name in ("images.parquet", "quarantine.parquet")}
    for name in ("assignments", "score", "report"):
        folder = layout.artifact(name)
        if not folder.is_dir():
            raise DataError(f"{folder} is missing; run facets rebuild {layout.experiment}")
        files |= {f"{name}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}
    missing = sorted(str(path) for path in files.values() if not path.exists())
    if missing:
        raise DataError(f"{missing[0]} is missing; run facets rebuild {layout.experiment}")
    return files


def _update(folder: Path, files: dict[str, Path]) -> None:
    """Bring a folder to hold exactly ``files``, each of them whole at any time."""
    for name, source in files.items():
        target = folder / name
        if not (target.exists() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False))):
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(source, target)
    for path in list(folder.rglob("*")):
        if path.is_file() and str(path.relative_to(folder)) not in files and path.name != _PARAMS:
            path.unlink()


def _link_or_copy(source: Path, target: Path) -> None:
    with temporary_dir(target) as folder:
        temporary = folder / target.name
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
        temporary.replace(target)

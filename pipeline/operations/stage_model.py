"""A trained model and its assignments move out of DVC's reach, to where the model in service lives."""

import filecmp
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError, PublishError
from pipeline.core.folder_seal import COPIES, SEAL, add_to_seal, close_seal, is_folder_sealed, rewriting, seal_folder
from pipeline.core.layout import Layout
from pipeline.core.sealed import copy_bytes
from pipeline.core.storage import atomic_dir, read_json, require_free_space, temporary_dir, write_json
from pipeline.core.upgrades import PARAMETERS, read_model_file
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.fixed_params import require_fixed_params, require_trained_params
from pipeline.operations.outputs import require_locked
from pipeline.operations.page import erase_pictures
from pipeline.tables import History

_PARAMS = "params.json"

_LARGE = ("assignments/", "prepared/")
"""Linked where the file system can; all else is copied, so that one damaged file does not damage its other name."""


def stage_model(layout: Layout, experiment: Experiment) -> str:
    """Copy what a model in service needs to ``published/<exp>/models/<model_version>/`` and return its version.

    The caller holds the repository lock, so that no stage replaces files meanwhile; publishing works from the copy.
    Where the file system can, large files are linked, so staging costs no space and little time.

    Raises:
        DataError: an output of a stage is missing or damaged.
        PublishError: the model belongs to another experiment.
        ConfigError: a parameter was changed that ids of published images depend on, or since the model was made.
        ResourceError: the disk is full.
    """
    require_fixed_params(layout, experiment.preprocess)
    require_trained_params(layout, experiment)
    files = _files(layout)
    model = read_model_file(layout.artifact("model"))
    if model["experiment"] != layout.experiment:
        raise PublishError(
            f"a model is published under its own experiment {layout.experiment}, got one of {model['experiment']} in "
            f"{layout.artifact('model')}; run facets rebuild {layout.experiment}"
        )
    require_free_space(layout.published, sum(path.stat().st_size for path in files.values()))
    target = layout.published / "models" / model["model_version"]
    if target.exists():
        close_seal(target)  # of a run that was cut off
        _bring_up_to_date(layout, target, files, PARAMETERS.stamp(asdict(experiment)))
    else:
        with atomic_dir(target) as folder:
            _bring_up_to_date(layout, folder, files, PARAMETERS.stamp(asdict(experiment)))
            seal_model(folder)
    if not is_folder_sealed(target):  # an earlier release staged it
        seal_model(target)
    removed = frozenset(read_id_list(layout.removed))
    if removed:
        History(layout.published).purge_models(removed)
        erase_pictures([target / "report"], removed)
    return model["model_version"]


def seal_model(folder: Path) -> None:
    """State the digests of a model's files, and keep second copies of those that nothing else could give back."""
    # All but pictures, and tables that the published parts repeat.
    seal_folder(folder, [name for name in _staged(folder) if not name.startswith((*_LARGE, "report/"))])


def _files(layout: Layout) -> dict[str, Path]:
    """Return what to stage: path below the model's folder to the file now."""
    model, prepared = layout.artifact("model"), layout.prepared
    selected = read_model_file(model)["selected_seed"]
    files = {name: model / name for name in ("model.json", "clusters.json", "history.csv")}
    if (model / "groups.json").exists():  # a model of an earlier release has none
        files["groups.json"] = model / "groups.json"
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


def _bring_up_to_date(layout: Layout, folder: Path, files: dict[str, Path], params: dict[str, Any]) -> None:
    """Bring a folder to hold exactly ``files`` and the parameters, each of them whole at any time."""
    new = [name for name, source in files.items() if _differs(source, folder / name)]
    require_locked(layout, [files[name] for name in new])
    gone = [name for name in _staged(folder) if name not in files and name != _PARAMS]
    changed = [*new, *gone] + ([_PARAMS] if _parameters(folder) != json.loads(json.dumps(params)) else [])
    with rewriting(folder, changed):
        for name in new:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name.startswith(_LARGE):
                _link_or_copy(files[name], folder / name)
            else:
                copy_bytes(files[name], folder / name)
        for name in gone:
            (folder / name).unlink()
        if _PARAMS in changed:
            # Later batches are brought to the model's size as its training images were, whatever params.yaml then says.
            write_json(folder / _PARAMS, params)
    add_to_seal(folder, _staged(folder))


def _staged(folder: Path) -> list[str]:
    """Return the files of a model's folder, its seal and second copies apart."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(name) for name in names if name.parts[0] != COPIES and str(name) != SEAL]


def _differs(source: Path, target: Path) -> bool:
    return not (target.exists() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False)))


def _parameters(folder: Path) -> Any:
    with suppress(DataError):
        return read_json(folder / _PARAMS)
    return None


def _link_or_copy(source: Path, target: Path) -> None:
    with temporary_dir(target) as folder:
        temporary = folder / target.name
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
        temporary.replace(target)

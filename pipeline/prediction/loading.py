"""Finding a published model: in a project, in a folder, or behind a URL. Nothing is unpickled."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import SEAL, require_sealed, stated_digests
from pipeline.core.input_words import input_noun
from pipeline.core.naming import check_experiment_name
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.delivery.preparation import model_section, model_spec, model_transform
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import load_model
from pipeline.model.checkpoint import weights_path
from pipeline.model.precision import best_device, multiplies_bfloat16
from pipeline.prediction.published_model import PublishedModel
from pipeline.tables.draft import load_identity
from pipeline.tables.names import load_names
from pipeline.tables.place import Place
from pipeline.tables.query import Snapshot, base_of, with_version

_NEEDED = ("model.json", "params.json")
_IF_THERE = (SEAL, "groups.json")  # earlier releases wrote neither


def load(source: Path | str, *, version: int | None = None, root: Path | str | None = None) -> PublishedModel:
    """Return a published model, which assigns images anywhere as ``facets ingest`` does in its project.

    Names of clusters come from ``names/<experiment>.csv`` of the project that a folder lies in; behind a URL there are
    none.

    Args:
        source: name of an experiment in a project; or, with a slash in it, a folder ``published/<experiment>``, a copy
            of one, or its URL for any protocol that fsspec knows.
        version: of the tables, by default the current one.
        root: project of a named experiment, a folder or URL; by default the nearest one above the working directory.

    Raises:
        ConfigError: there is no such version or project, or the experiment's name is no name.
        DataError: nothing is published there, a file is missing or damaged, or the model takes features.
        ModelError: the weights are damaged, or not those of the published model.
        ResourceError: a newer release published the model.
    """
    if "://" in str(source):
        location = str(source)
    elif isinstance(source, Path) or "/" in str(source):
        location = str(Path(source).absolute())
    else:
        check_experiment_name(source, "load takes a name, or a folder with a slash in it such as ./folder")
        location = f"{base_of(source, root)}/published/{source}"
    return with_version(location, version, _load)


def _load(snapshot: Snapshot) -> PublishedModel:
    place, model_version = snapshot.place, snapshot.version.model_version
    identity = load_identity(place, snapshot.version)
    published = Path(place.location)
    is_here = place.filesystem is None
    names = load_names(published.parents[1] / "names" / f"{published.name}.csv", identity.minted_by) if is_here else {}
    device = best_device()
    precision = torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    with _model_folder(place, model_version) as folder:
        require_sealed(folder, sorted(stated_digests(folder).keys() & {*_NEEDED, *_IF_THERE}))
        experiment = read_model_file(folder)["experiment"]
        _require_pixels(model_spec(folder), folder.name, experiment)
        return PublishedModel(
            experiment=experiment,
            version=snapshot.version.version,
            model=load_model(folder, precision=precision).to(device),
            preprocess=model_section(folder, "preprocess"),
            transform=model_transform(folder),
            assign=model_section(folder, "assign"),
            uids=identity.columns(model_version),
            names={uid: name for uid, (name, _) in names.items()},
        )


def _require_pixels(spec: InputSpec, model: str, experiment: str) -> None:
    """Refuse a model of features and say what assigns its new images, or rows: only its project has what makes them."""
    if spec.kind != "pixels":
        new = f"new {input_noun(spec.describe())}s" + (", through the same network" if spec.embedder else "")
        raise DataError(
            f"load takes models of pixels, but {model} takes {spec}; in its project, facets ingest {experiment} PATH "
            f"assigns {new}, and its tables say to which clusters"
        )


@contextmanager
def _model_folder(place: Place, model_version: str) -> Iterator[Path]:
    """Yield the folder of a model; of one behind a URL, what is needed of it."""
    name = f"models/{model_version}"
    if place.filesystem is None:
        yield Path(place.location) / name
        return
    with tempfile.TemporaryDirectory(prefix="facets-model-") as temporary:
        folder = Path(temporary)
        for file in [*_NEEDED, *(file for file in _IF_THERE if place.exists(f"{name}/{file}"))]:
            place.fetch(f"{name}/{file}", folder / file)
        weights = weights_path(folder, read_model_file(folder)["selected_seed"])
        place.fetch(f"{name}/{weights.name}", weights)
        yield folder

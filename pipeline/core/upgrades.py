"""Records of earlier releases in the form of today: every kind of record, and the steps from each schema to the next.

What a release has written stays readable for good. A key that is added, renamed or dropped takes a step, a function
from the old record to the new one, at the end of the steps of its form; the schema is their number plus one. A step
gives a new key the value that says what the old record meant without it, so that no model and no table changes by being
read. What a newer release wrote is refused, as its meaning is unknown here.

These records outlive a release; what a stage leaves for the next one alone is not among them, and neither are the
tables themselves, which only ever gain columns (:mod:`pipeline.table_format.schema`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.storage import read_json

Record = dict[str, Any]
Step = Callable[[Record], Record]

_KEY = "schema"


@dataclass(frozen=True)
class Form:
    """One kind of record.

    Attributes:
        steps: the first leads from schema 1 to 2, the next from 2 to 3, and so on.
        unnumbered: a record without a number is of schema 1: the first release that wrote it gave it none.
    """

    steps: tuple[Step, ...] = ()
    unnumbered: bool = False

    @property
    def schema(self) -> int:
        """The number of today's form."""
        return 1 + len(self.steps)

    def stamp(self, content: Record) -> Record:
        """Return a record of today with its number."""
        return {_KEY: self.schema, **content}

    def upgrade(self, record: Any, name: str) -> Record:
        """Return a record of any release in the form of today; a checksum that it has is that of the old form.

        Args:
            record: as parsed from JSON; it is left as it is.
            name: of its file.

        Raises:
            DataError: it is no object, or states no number that a release could have written.
            ResourceError: a newer release wrote it.
        """
        if not isinstance(record, dict):
            raise DataError(f"{name} must hold a JSON object, got {type(record).__name__}; run facets check --repair")
        found = record.get(_KEY, 1 if self.unnumbered else None)
        if type(found) is not int or found < 1:
            raise DataError(
                f"{name} must state its schema, a number from 1 to {self.schema}, got {found!r}; "
                "run facets check --repair"
            )
        require_known(found, self.schema, name)
        for step in self.steps[found - 1 :]:
            record = step(record)
        return {**record, _KEY: self.schema}


def require_known(found: int, newest: int, name: str) -> None:
    """Refuse the schema of a newer release: no damage, so nothing tries to repair it.

    Raises:
        ResourceError: this release knows no such schema.
    """
    if found > newest:
        raise ResourceError(
            f"{name} must be of schema {newest} or an older one, got {found}, which a newer release wrote; "
            "install that release here, or a later one"
        )


def read_record(path: Path, form: Form) -> Record:
    """Read a record of any release in the form of today.

    Raises:
        DataError: it is missing or damaged.
        ResourceError: a newer release wrote it.
    """
    return form.upgrade(read_json(path), str(path))


def read_model_file(folder: Path) -> Record:
    """Read ``model.json`` of a model folder in the form of today, its model section too.

    Raises:
        DataError: it is missing or damaged.
        ResourceError: a newer release wrote it.
    """
    return upgrade_model(read_json(folder / "model.json"), str(folder / "model.json"))


def upgrade_model(record: Any, name: str) -> Record:
    """Return the content of ``model.json`` in the form of today; its model section has the schema of parameters."""
    found = MODEL.upgrade(record, name)
    section = PARAMETERS.upgrade({_KEY: found.get("parameters"), "model": found.get("model")}, f"{name}: model")
    return {**found, "parameters": section[_KEY], "model": section["model"]}


def _with_changed(params: Record, section: str, change: Step) -> Record:
    """Return parameters with one section changed, where they have it: ``model.json`` holds the model section alone."""
    found = params.get(section)
    return {**params, section: change(found)} if isinstance(found, dict) else params


def _replaced(key: str, dropped: str, kept: str) -> Step:
    """Return a step that gives a key another value in place of one that is not legal any more."""
    return lambda section: {**section, key: kept} if section.get(key) == dropped else section


def _without_unused_options(params: Record) -> Record:
    """Drop the one-valued ``train.criterion``, and options that decide nothing about a trained model any more.

    ``glorot`` began a training that is over; ``sample`` drew assignments without a seed, for which ``exact`` stands in.
    """
    params = _with_changed(params, "train", lambda train: {k: v for k, v in train.items() if k != "criterion"})
    params = _with_changed(params, "model", _replaced("network_init", "glorot", "default"))
    return _with_changed(params, "assign", _replaced("assigner", "sample", "exact"))


def _with_chosen_files(params: Record) -> Record:
    """Say that no pattern chose among the files of the source: all were read."""
    return _with_changed(params, "preprocess", lambda section: {"include": None, "exclude": None, **section})


def _with_full_range(params: Record) -> Record:
    """Say that 16-bit images were scaled by the full range of their type."""
    return _with_changed(params, "preprocess", lambda section: {"brightest": None, **section})


def _with_links_not_followed(params: Record) -> Record:
    """Say that links to folders and out of the source's folder were not followed."""
    return _with_changed(params, "preprocess", lambda section: {"follow_links": False, **section})


def _without_features(params: Record) -> Record:
    """Say that images were taken as pixels."""
    return _with_changed(params, "preprocess", lambda section: {"features": None, **section})


def _with_covariance_of_facets(params: Record) -> Record:
    """Give every facet the covariance that was one for all."""

    def of_facets(model: Record) -> Record:
        one, dims = model.get("covariance"), model.get("latent_dims")
        if not isinstance(one, str) or not isinstance(dims, list):
            return model
        return {**model, "covariance": [one] * len(dims)}

    return _with_changed(params, "model", of_facets)


def _with_weight_of_hints(params: Record) -> Record:
    """Say what hints would have counted, of which there were none."""
    return _with_changed(params, "train", lambda section: {"hints": {"weight": 50.0, "images": 96}, **section})


def _with_nothing_ignored(params: Record) -> Record:
    """Say that no facet was trained not to see anything."""
    return _with_changed(params, "train", lambda section: {"ignores": None, "view_weight": 0.0, **section})


def _started_by_k_means(params: Record) -> Record:
    """Say that no mixture started with the clusters of a graph of neighbours."""
    return _with_changed(params, "init_mog", lambda section: {"neighbours": 0, **section})


def _with_schema_of_parameters(model: Record) -> Record:
    """Say that the model section is of the first schema of parameters."""
    return {**model, "parameters": 1}


def _with_input(model: Record) -> Record:
    """Say what the inputs are: those of all models before were images of bytes."""
    rest = {key: value for key, value in model.items() if key != "image_shape"}
    pixels = {"kind": "pixels", "dtype": "uint8", "shape": model.get("image_shape"), "is_bounded": True}
    return {**rest, "input": pixels}


def _with_certainty(model: Record) -> Record:
    """Say that how certain the facets of each seed were is not known."""

    def described(seed: Record) -> Record:
        return {**seed, "facets": [{**facet, "certainty": None} for facet in seed.get("facets", [])]}

    return {**model, "seeds": [described(seed) for seed in model["seeds"]]} if "seeds" in model else model


def _without_hints(model: Record) -> Record:
    """Say that nobody told its facets what they are about."""
    n_facets = len((model.get("model") or {}).get("n_components", []))
    return {**model, "hints": [{"trained": 0, "kept_aside": 0} for _ in range(n_facets)]}


def _with_unnamed_bound(model: Record) -> Record:
    """Say that it is not known whether its seeds' bounds are of held-out or, where there were none, training images."""
    return {**model, "bound_on": None}


def _with_short_ids(batch: Record) -> Record:
    """Say that the ids of its images have the first 64 bits of their content hash."""
    return {**batch, "id_bits": 64}


def _with_groups(scores: Record) -> Record:
    """Say that components were not joined into groups."""
    return {**scores, "groups": {}}


def _without_judged_hints(scores: Record) -> Record:
    """Say that there were no hints to judge by."""
    return {**scores, "hints": {}}


def _with_named_conventions(scores: Record) -> Record:
    """Say that accuracies of models that were mapped on their own split were the paper's, of the posterior means.

    Those of the published clusters are not known. Groups and clusterings of raw pixels had one assigner only.
    """
    models = {key: _with_paper(scores[key], True) for key in ("seeds", "mean", "std", "selected") if key in scores}
    others = {key: _with_paper(scores[key], False) for key in ("chance", "groups", "baselines") if key in scores}
    return {**scores, **models, **others}


def _with_paper(tree: Any, is_model: bool) -> Any:
    if not isinstance(tree, dict):
        return tree
    found = {key: _with_paper(value, is_model) for key, value in tree.items()}
    if "accuracy_same_split" not in tree:
        return found
    found["accuracy_paper"] = tree["accuracy_same_split"]
    is_chance = "chance" not in tree  # it was that of the published clusters' sizes
    unknown = ("accuracy_same_split", "accuracy_same_split_train") if is_model and not is_chance else ()
    return {**found, **dict.fromkeys(unknown)}


def _with_courses_of_held_out_images(scores: Record) -> Record:
    """Say that accuracies by epoch were of images held out of the training split."""
    return {**scores, "epochs_of": "validation"}


def _without_groups(identity: Record) -> Record:
    """Say that no model's components had formed groups."""
    return {**identity, "next_group": [], "groups": {}}


def _with_refused_deliveries(version: Record) -> Record:
    """Say that all refused files came with images: ``tables`` holds no ``quarantine``."""
    return version


def _without_counts(page: Record) -> Record:
    """Leave the counts of cross-tables to the tables, and say that how much the model redraws is not known."""
    if "crosses" not in page:  # thumbnails of a batch
        return page
    crosses = [{key: value for key, value in cross.items() if key != "counts"} for cross in page["crosses"]]
    return {**page, "crosses": crosses, "redrawn": None}


def _with_decoded_pictures(page: Record) -> Record:
    """Say that what the model made up is shown as it decoded it."""
    return {**page, "nearest": None} if "crosses" in page else page


def _with_confidence_of_groups(page: Record) -> Record:
    """Say that how surely images belong to groups of clusters is not known."""
    if "facets" not in page:
        return page
    facets = [{**facet, "pool": {**facet["pool"], "group_confidence": None}} for facet in page["facets"]]
    return {**page, "facets": facets}


PARAMETERS = Form(
    (
        _without_unused_options,
        _with_chosen_files,
        _with_full_range,
        _with_weight_of_hints,
        _with_links_not_followed,
        _with_covariance_of_facets,
        _with_nothing_ignored,
        _without_features,
        _started_by_k_means,
    ),
    unnumbered=True,
)
"""``params.json`` of a published model: the sections of :mod:`pipeline.config.sections`, any of them."""

MODEL = Form((_with_schema_of_parameters, _with_input, _with_certainty, _without_hints, _with_unnamed_bound))
"""``model.json``; see :func:`upgrade_model`."""

ESTIMATOR = Form()
"""What the estimator saves beside its weights; its model section has the schema of parameters."""

GROUPS = Form()
"""``groups.json`` beside ``model.json``; models of earlier releases have none."""

SCORES = Form((_with_groups, _without_judged_hints, _with_named_conventions, _with_courses_of_held_out_images))
"""``score/metrics.json``, kept with a model."""

PICTURES = Form((_without_counts, _with_decoded_pictures, _with_confidence_of_groups))
"""``page.json`` of a report and of the thumbnails of a batch."""

SOURCE = Form(unnumbered=True)
"""``data/sources/<experiment>.json``: the pinned content of a source."""

BATCH = Form((_with_short_ids,), unnumbered=True)
"""``batch.json`` of an ingested batch; its images get ids of today when the shard is written anew."""

SEAL = Form(unnumbered=True)
"""``files.json``: digests of the files beside it."""

MANIFEST = Form()
"""``manifest.json`` of published tables: which version is the current one."""

VERSION = Form((_with_refused_deliveries,))
"""``versions/<n>.json``."""

LIST = Form()
"""``lists/<hash>.json``: the parts of batches."""

CONTENT = Form()
"""First line of ``parts/content/<digest>.hashes``: which parts the hashes below it are of."""

IDENTITY = Form((_without_groups,))
"""``identity/<hash>.json``: all uids of clusters and groups."""

PLAN = Form(unnumbered=True)
"""``plan.json`` of a decided step, which a later release may have to complete."""

CURRENT = Form()
"""``current.json`` beside ``current/``: what the file there holds."""

SHARE_HEAD = Form()
"""``head.json`` of a share, and ``shared.json`` beside published tables: the head that they were last equal to."""

SHARE_LISTING = Form()
"""The blob that lists the files of a share."""

SHARE_ADDRESS = Form()
"""``data/shared/<experiment>.json``: where an experiment is shared."""
